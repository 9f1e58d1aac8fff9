#include "train/named_tensor.h"

#include <ATen/ATen.h>
#include <torch/nn/module.h>

#include <algorithm>
#include <cstring>

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

namespace detail {

at::Tensor word_sum(const std::vector<at::Tensor>& tensors) {
  constexpr std::int64_t most_at_once = 1 << 22;  // words, of eight bytes each in the sum, as are their numbers
  constexpr std::int64_t spread = 0x9E3779B97F4A7C15, mix = 0xBF58476D1CE4E5B9;
  std::vector<at::Tensor> words;
  for (const auto& tensor : tensors) {
    const auto flat = tensor.detach().contiguous().view({-1});
    words.push_back(flat.nbytes() % 4 == 0 ? flat.view(at::kInt) : flat.view(at::kByte).to(at::kInt));
  }
  const auto all = at::cat(words);
  auto sum = at::zeros({1}, all.options().dtype(at::kLong));
  for (std::int64_t begin = 0; begin < all.numel(); begin += most_at_once) {
    const auto end = std::min(begin + most_at_once, all.numel());
    auto place = at::arange(begin + 1, end + 1, sum.options()).mul_(spread);
    place.bitwise_xor_(place.bitwise_right_shift(29)).mul_(mix).bitwise_or_(1);
    sum += place.mul_(all.slice(0, begin, end)).sum();
  }
  return sum;
}

}  // namespace detail

Digest checksum(const std::vector<at::Tensor>& tensors) {
  const at::NoGradGuard no_grad;
  std::uint32_t crc = 0;
  std::int64_t sum = 0;
  std::vector<at::Tensor> on_device;
  for (const auto& tensor : tensors) {
    if (!tensor.is_cpu()) {
      on_device.push_back(tensor);
      continue;
    }
    const auto bytes = tensor.detach().contiguous();
    crc = crc32c({static_cast<const std::byte*>(bytes.const_data_ptr()), bytes.nbytes()}, crc);
  }
  if (!on_device.empty()) sum = detail::word_sum(on_device).item<std::int64_t>();
  Digest result{};
  std::memcpy(result.data(), &crc, sizeof crc);
  std::memcpy(result.data() + sizeof crc, &sum, sizeof sum);
  return result;
}

Digest weights_checksum(const torch::nn::Module& module) {
  auto tensors = module.parameters();
  for (const auto& buffer : module.buffers()) tensors.push_back(buffer);
  return checksum(tensors);
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
