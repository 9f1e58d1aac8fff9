#include "dist/flat_parameters.h"

#include <ATen/Functions.h>
#include <ATen/core/grad_mode.h>

#include <cstddef>
#include <set>

#include "base/error.h"

namespace spankey {
namespace {

constexpr std::int64_t alignment = 64 / sizeof(float);  // elements

std::int64_t aligned(std::int64_t elements) {
  return (elements + alignment - 1) / alignment * alignment;
}

void check_parameter(const std::string& name, const at::Tensor& parameter, const at::Tensor& first) {
  SPANKEY_CHECK(parameter.defined());
  if (parameter.scalar_type() != first.scalar_type() || !parameter.is_floating_point())
    fail_run("parameter {} is {}, the first is {}", name, at::toString(parameter.scalar_type()),
             at::toString(first.scalar_type()));
  if (!parameter.is_leaf() || !parameter.requires_grad())
    fail_run("parameter {} is not a leaf that requires a gradient", name);
  if (parameter.device() != first.device())
    fail_run("parameter {} is on {}, the first on {}", name, parameter.device().str(), first.device().str());
}

}  // namespace

at::Tensor FlatParameters::view(const at::Tensor& flat, const Entry& entry) {
  const auto part = flat.narrow(0, entry.offset, entry.size);
  const auto sizes = entry.parameter.sizes();
  if (part.is_cpu() || sizes.size() != 4) return part.view(sizes);
  return part.view({sizes[0], sizes[2], sizes[3], sizes[1]}).permute({0, 3, 1, 2});
}

FlatParameters::FlatParameters(const std::vector<std::pair<std::string, at::Tensor>>& named) {
  const at::NoGradGuard no_grad;
  SPANKEY_CHECK(!named.empty());
  std::set<const void*> seen;
  std::int64_t size = 0;
  for (auto it = named.rbegin(); it != named.rend(); ++it) {
    const auto& [name, parameter] = *it;
    check_parameter(name, parameter, named.front().second);
    if (!seen.insert(parameter.unsafeGetTensorImpl()).second) fail_run("parameter {} is registered twice", name);
    entries_.push_back({name, parameter, size, parameter.numel()});
    size += aligned(parameter.numel());
  }
  const auto options = named.front().second.options().requires_grad(false);
  weights_ = at::zeros({size}, options);
  gradients_ = at::zeros({size}, options);
  for (const auto& entry : entries_) {
    auto weight = view(weights_, entry);
    weight.copy_(entry.parameter);
    entry.parameter.set_data(weight);
    entry.parameter.mutable_grad() = view(gradients_, entry);
  }
}

const FlatParameters::Entry& FlatParameters::find(std::string_view name) const {
  for (const auto& entry : entries_)
    if (entry.name == name) return entry;
  fail_run("there is no parameter {}", name);
}

void FlatParameters::check_attached(std::size_t entry) const {
  const auto& [name, parameter, offset, size] = entries_[entry];
  const auto& gradient = parameter.grad();
  const auto place = [at = offset](const at::Tensor& flat) {
    return static_cast<const std::byte*>(flat.const_data_ptr()) + at * flat.element_size();
  };
  if (!gradient.defined() || gradient.const_data_ptr() != place(gradients_))
    fail_run("the gradient of {} is no longer a view of the flat gradients: {} (was it set to none?)", name,
             gradient.defined() ? "it lies elsewhere" : "it is undefined");
  if (parameter.const_data_ptr() != place(weights_))
    fail_run("{} is no longer a view of the flat weights: its data were replaced", name);
}

void FlatParameters::check_attached() const {
  for (std::size_t entry = 0; entry < entries_.size(); ++entry) check_attached(entry);
}

}  // namespace spankey
