// Tensors with the names they carry in checkpoints, and the digest of a set of weights.
#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <string_view>
#include <vector>

#include "base/digest.h"
#include "base/hdf5_file.h"

namespace torch::nn {
class Module;
}

namespace spankey {

struct NamedTensor {
  std::string name;
  at::Tensor value;
};

std::vector<NamedTensor> named_parameters(const torch::nn::Module& module);
std::vector<NamedTensor> named_buffers(const torch::nn::Module& module);

// How a tensor lies in a file, and the name of that type; Error(run_failed) for a type that has no place there.
h5::Type stored_type(const at::Tensor& tensor);
std::string_view dtype_name(const at::Tensor& tensor);

// `weights_sha256` of result.json: SHA-256 over parameters, then buffers, each sorted by name:
// name, 0, dtype, 0, shape as int64 little-endian, raw bytes.
Digest weights_digest(std::vector<NamedTensor> parameters, std::vector<NamedTensor> buffers);
Digest weights_digest(const torch::nn::Module& module);

// Where SHA-256 costs too much: of the bytes of `tensors`, in their order. It differs for certain where one element of
// up to 32 bits differs, and otherwise but for one case in 2^32. CRC32C of what lies in the host's memory; what lies on
// a device is summed there, and only the sum comes over. The same tensors on another kind of device have another one.
Digest checksum(const std::vector<at::Tensor>& tensors);
Digest weights_checksum(const torch::nn::Module& module);

namespace detail {
// The sum for tensors on a device, int64 (1) there: of all words of 32 bits, each times an odd number of its place.
// Works on any device; named for the tests.
at::Tensor word_sum(const std::vector<at::Tensor>& tensors);
}  // namespace detail

// Names and shapes alone: what ranks must agree on before they exchange gradients.
Digest layout_digest(const std::vector<NamedTensor>& parameters, const std::vector<NamedTensor>& buffers);

}  // namespace spankey
