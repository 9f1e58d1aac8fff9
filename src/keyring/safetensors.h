// The safetensors format: named tensors as one image of bytes, which Python's `safetensors` and many others read.
//
// The image begins with the length of the header (u64, little-endian) and the header, a JSON object. Each of its
// members is a tensor {"dtype", "shape", "data_offsets": [begin, end]}, but for "__metadata__", an object of strings.
// The bytes of the tensors follow, little-endian and contiguous, without gaps and without overlaps.
#pragma once

#include <cstddef>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "spankey/models/named_tensor.h"

namespace spankey {

struct Safetensors {
  std::vector<NamedTensor> tensors;             // in host memory, in the order of their bytes
  std::map<std::string, std::string> metadata;  // of "__metadata__"
};

// Returns the image. The bytes of the tensors lie in the order of the list, and the header is padded with blanks to a
// multiple of 8 bytes. Throws Error(run_failed) for a type that dtype_name() does not know.
std::vector<std::byte> encode_safetensors(const Safetensors& content);

// Reads an image and copies its tensors. Offsets, shapes and overlaps are checked against the length of the image
// before memory is taken for a tensor. Error(bad_input) names `name` and the first fault in one line. The types are
// those of dtype_name(). A tensor of another type is refused.
Safetensors decode_safetensors(std::span<const std::byte> bytes, const std::string& name);

}  // namespace spankey
