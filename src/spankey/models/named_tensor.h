// Tensors with their names in checkpoints, and the digest of a set of weights.
#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <string_view>
#include <vector>

#include "base/digest.h"

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

// Returns the name of the type of the elements, such as "float32". Throws Error(run_failed) for a type that no file of
// weights may hold.
std::string_view dtype_name(const at::Tensor& tensor);

// Computes `weights_sha256` of result.json. It is the SHA-256 over parameters, then buffers, each sorted by name. A
// tensor contributes its name, 0, dtype, 0, its shape as int64 little-endian, and its raw bytes.
Digest weights_digest(std::vector<NamedTensor> parameters, std::vector<NamedTensor> buffers);
Digest weights_digest(const torch::nn::Module& module);

// Copies the values of `from` into the parameters and buffers of the same names. Error(bad_input) begins with `name`
// and names, in one line, every tensor that is missing, that the network does not have, or that has another type or
// shape.
void load_weights(const std::vector<NamedTensor>& from, const torch::nn::Module& module, const std::string& name);

// Computes a checksum of the bytes of `tensors`, in their order, where SHA-256 costs too much. It differs for certain
// where one element of up to 32 bits differs, and otherwise but for one case in 2^32. Tensors in host memory give their
// CRC32C. Tensors on a device are summed there, and only the sum is copied to the host. The same tensors on another
// kind of device have another checksum.
Digest checksum(const std::vector<at::Tensor>& tensors);
Digest weights_checksum(const torch::nn::Module& module);

namespace detail {
// Returns the sum for tensors on a device, int64 (1) there. It adds all words of 32 bits, each times an odd number that
// depends on its place. It works on any device and is declared here for the tests.
at::Tensor word_sum(const std::vector<at::Tensor>& tensors);
}  // namespace detail

// Digest of names and shapes alone, on which ranks must agree before they exchange gradients.
Digest layout_digest(const std::vector<NamedTensor>& parameters, const std::vector<NamedTensor>& buffers);

}  // namespace spankey
