#include "train/named_tensor.h"

#include <torch/nn/module.h>

#include <algorithm>

#include "base/error.h"

namespace spankey {
namespace {

std::vector<NamedTensor> to_named(const torch::OrderedDict<std::string, at::Tensor>& items) {
  std::vector<NamedTensor> named;
  for (const auto& item : items) named.push_back({item.key(), item.value()});
  return named;
}

constexpr std::string_view zero_byte("\0", 1);

void update_with_layout(Sha256& hash, const at::Tensor& tensor) {
  hash.update(dtype_name(tensor)).update(zero_byte);
  for (const auto extent : tensor.sizes()) hash.update_int64(extent);
}

void update_with_tensor(Sha256& hash, const at::Tensor& tensor) {
  update_with_layout(hash, tensor);
  const auto bytes = tensor.detach().cpu().contiguous();
  hash.update({static_cast<const std::byte*>(bytes.const_data_ptr()), bytes.nbytes()});
}

void sort_by_name(std::vector<NamedTensor>& tensors) {
  std::sort(tensors.begin(), tensors.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
}

}  // namespace

std::vector<NamedTensor> named_parameters(const torch::nn::Module& module) {
  return to_named(module.named_parameters());
}

std::vector<NamedTensor> named_buffers(const torch::nn::Module& module) {
  return to_named(module.named_buffers());
}

h5::Type stored_type(const at::Tensor& tensor) {
  switch (tensor.scalar_type()) {
    case at::kFloat:
      return h5::Type::float32;
    case at::kDouble:
      return h5::Type::float64;
    case at::kLong:
      return h5::Type::int64;
    case at::kInt:
      return h5::Type::int32;
    case at::kByte:
      return h5::Type::uint8;
    default:
      fail_run("a tensor of type {} has no place in a checkpoint", c10::toString(tensor.scalar_type()));
  }
}

std::string_view dtype_name(const at::Tensor& tensor) {
  return h5::to_string(stored_type(tensor));
}

Digest weights_digest(std::vector<NamedTensor> parameters, std::vector<NamedTensor> buffers) {
  Sha256 hash;
  for (auto* group : {&parameters, &buffers}) {
    sort_by_name(*group);
    for (const auto& [name, value] : *group) {
      hash.update(name).update(zero_byte);
      update_with_tensor(hash, value);
    }
  }
  return hash.finish();
}

Digest weights_digest(const torch::nn::Module& module) {
  return weights_digest(named_parameters(module), named_buffers(module));
}

Digest layout_digest(const std::vector<NamedTensor>& parameters, const std::vector<NamedTensor>& buffers) {
  Sha256 hash;
  for (const auto* group : {&parameters, &buffers}) {
    for (const auto& [name, value] : *group) {
      hash.update(name).update(zero_byte);
      update_with_layout(hash, value);
    }
  }
  return hash.finish();
}

}  // namespace spankey
