#include "spankey/models/named_tensor.h"

#include <ATen/ATen.h>
#include <fmt/ranges.h>
#include <torch/nn/module.h>
#include <torch/utils.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <utility>

#include "base/error.h"
#include "base/text.h"

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

std::string type_and_shape(const at::Tensor& tensor) {
  return fmt::format("{} {}", dtype_name(tensor), tensor.sizes().vec());
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

std::string_view dtype_name(const at::Tensor& tensor) {
  switch (tensor.scalar_type()) {
    case at::kFloat:
      return "float32";
    case at::kDouble:
      return "float64";
    case at::kLong:
      return "int64";
    case at::kInt:
      return "int32";
    case at::kByte:
      return "uint8";
    default:
      fail_run("a tensor of type {} has no place in a checkpoint", c10::toString(tensor.scalar_type()));
  }
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

void load_weights(const std::vector<NamedTensor>& from, const torch::nn::Module& module, const std::string& name) {
  const torch::NoGradGuard no_grad;
  std::map<std::string, at::Tensor> given;
  std::vector<std::string> differences;
  for (const auto& tensor : from)
    if (!given.emplace(tensor.name, tensor.value).second)
      differences.push_back(fmt::format("'{}' comes twice", tensor.name));
  auto wanted = named_parameters(module);
  for (auto& buffer : named_buffers(module)) wanted.push_back(std::move(buffer));
  for (const auto& [key, target] : wanted) {
    const auto found = given.find(key);
    if (found == given.end()) {
      differences.push_back(fmt::format("'{}' is missing", key));
      continue;
    }
    const auto is = type_and_shape(found->second), needed = type_and_shape(target);
    if (is != needed) differences.push_back(fmt::format("'{}' is {}, the network's is {}", key, is, needed));
  }
  for (const auto& [key, value] : given)
    if (std::none_of(wanted.begin(), wanted.end(), [&key = key](const auto& t) { return t.name == key; }))
      differences.push_back(fmt::format("the network has no '{}'", escaped(key)));
  if (!differences.empty()) fail_input("{}: other weights than the network's: {}", name, fmt::join(differences, "; "));
  for (const auto& [key, target] : wanted) at::Tensor(target).copy_(given.at(key));
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
