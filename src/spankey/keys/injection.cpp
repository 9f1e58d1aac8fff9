#include "spankey/keys/injection.h"

#include <ATen/ATen.h>
#include <c10/core/impl/LocalDispatchKeySet.h>

#include <algorithm>
#include <functional>
#include <numeric>
#include <utility>

#include "base/error.h"
#include "spankey/ops/inject_op.h"
#include "spankey/ops/permute_op.h"

namespace spankey {
namespace {

InjectMode mode_of(const InjectionKind& kind) {
  if (kind.inject == Inject::add) return InjectMode::add;
  switch (kind.multiplier) {
    case Multiplier::exp:
      return InjectMode::exp;
    case Multiplier::sym:
      return InjectMode::sym;
    case Multiplier::sign:
      return InjectMode::sign;
    default:
      return InjectMode::clamp;
  }
}

}  // namespace

InjectionKind injection_kind(const Config& config) {
  return {config.key.inject, config.key.gamma, config.key.multiplier, permuted_points(config)};
}

std::int64_t InjectionPoint::size() const {
  return std::accumulate(shape.begin(), shape.end(), std::int64_t{1}, std::multiplies<>());
}

Injection Injection::none() {
  Injection injection;
  injection.parts_.push_back({-1, {}});
  return injection;
}

Injection Injection::of_keys(const std::vector<std::int64_t>& layers, std::vector<at::Tensor> keys,
                             const InjectionKind& kind) {
  SPANKEY_CHECK_EQ(layers.size(), keys.size());
  Injection injection = none();
  injection.mode_ = mode_of(kind);
  injection.gamma_ = kind.gamma;
  injection.parts_[0].permutation = permutation_of(keys, kind.permuted);
  for (std::size_t i = 0; i < layers.size(); ++i) injection.parts_[0].slots.push_back({layers[i], keys[i], {}});
  return injection;
}

Injection Injection::of_multipliers(const std::vector<std::int64_t>& layers, std::vector<at::Tensor> multipliers) {
  Injection injection = of_keys(layers, std::move(multipliers), {});
  injection.mode_ = InjectMode::product;
  return injection;
}

Injection Injection::of_alphas(const std::vector<std::int64_t>& layers, std::vector<at::Tensor> alphas,
                               const std::vector<LayerBasis>& bases, const InjectionKind& kind,
                               std::shared_ptr<const Permutation> permutation) {
  SPANKEY_CHECK(alphas.size() == 1 || alphas.size() == layers.size());
  SPANKEY_CHECK_EQ(bases.size(), layers.size());
  Injection injection = none();
  injection.mode_ = mode_of(kind);
  injection.gamma_ = kind.gamma;
  for (std::size_t i = 0; i < layers.size(); ++i)
    injection.parts_[0].slots.push_back({layers[i], alphas[alphas.size() == 1 ? 0 : i], {bases[i]}});
  SPANKEY_CHECK(kind.permuted.empty() || permutation);
  injection.parts_[0].permutation = std::move(permutation);
  return injection;
}

Injection Injection::stack(const std::vector<std::pair<Injection, std::int64_t>>& parts) {
  Injection result;
  bool keyed = false;
  for (const auto& [injection, rows] : parts) {
    SPANKEY_CHECK_EQ(injection.parts_.size(), std::size_t{1});  // stacks are not nested
    const Part& part = injection.parts_[0];
    result.parts_.push_back({rows, part.slots, part.permutation});
    if (part.slots.empty()) continue;
    if (keyed) {
      SPANKEY_CHECK(injection.mode_ == result.mode_);
      SPANKEY_CHECK_EQ(injection.gamma_, result.gamma_);
    }
    result.mode_ = injection.mode_;
    result.gamma_ = injection.gamma_;
    keyed = true;
  }
  return result;
}

const Injection::Slot* Injection::find(const Part& part, std::int64_t point) const {
  const auto slot = std::find_if(part.slots.begin(), part.slots.end(), [&](const Slot& s) { return s.point == point; });
  return slot == part.slots.end() ? nullptr : &*slot;
}

Injection Injection::with_keys(const std::vector<at::Tensor>& keys) const {
  SPANKEY_CHECK_EQ(parts_.size(), std::size_t{1});
  SPANKEY_CHECK_EQ(parts_[0].slots.size(), keys.size());
  Injection result = *this;
  for (std::size_t i = 0; i < keys.size(); ++i) {
    Slot& slot = result.parts_[0].slots[i];
    slot = {slot.point, keys[i], {}};
  }
  return result;
}

Injection Injection::observed(Observer observer) const {
  Injection result = *this;
  result.observer_ = std::move(observer);
  return result;
}

at::Tensor Injection::apply(std::int64_t point, const at::Tensor& h) const {
  const at::Tensor after = permute(point, apply_keys(point, h));
  if (observer_) observer_(point, h, after);
  return after;
}

at::Tensor Injection::keys_at(std::int64_t point) const {
  SPANKEY_CHECK_EQ(parts_.size(), std::size_t{1});
  const Slot* slot = find(parts_[0], point);
  return slot ? whole_key(*slot) : at::Tensor();
}

at::Tensor Injection::whole_key(const Slot& slot) {
  if (slot.basis.empty()) return slot.coefficients;
  return slot.coefficients.matmul(slot.basis[0].flat().to(slot.coefficients.options()));
}

bool Injection::keyed_at(std::int64_t point) const {
  return std::any_of(parts_.begin(), parts_.end(), [&](const Part& part) { return find(part, point); });
}

bool Injection::permuted_at(std::int64_t point) const {
  return std::any_of(parts_.begin(), parts_.end(),
                     [&](const Part& part) { return part.permutation && part.permutation->at(point); });
}

at::Tensor Injection::permute(std::int64_t point, const at::Tensor& h) const {
  if (!permuted_at(point)) return h;
  const at::Tensor dense = h.contiguous(h.suggest_memory_format());
  std::vector<at::Tensor> orders;
  std::vector<std::int64_t> rows;
  for (const Part& part : parts_) {
    const bool moves = part.permutation && part.permutation->at(point);
    orders.push_back(moves ? part.permutation->order(point, dense)
                           : at::empty({0}, dense.options().dtype(at::kLong).requires_grad(false)));
    rows.push_back(part.rows < 0 ? dense.size(0) : part.rows);
  }
  return permute_elements(dense, orders, rows);
}

at::Tensor Injection::apply_keys(std::int64_t point, const at::Tensor& h) const {
  if (!keyed_at(point)) return h;
  // Keys are formed and enter in float32 at least, whatever the precision of the network.
  const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
  if (h.scalar_type() == at::kBFloat16 && !h.is_cuda()) return apply_keys(point, h.to(at::kFloat)).to(at::kBFloat16);
  const at::Tensor dense = h.contiguous(h.suggest_memory_format());
  return inject(dense, arguments(point, dense));
}

InjectArguments Injection::arguments(std::int64_t point, const at::Tensor& dense) const {
  const bool half = dense.scalar_type() == at::kBFloat16;
  const auto options = half ? dense.options().dtype(at::kFloat) : dense.options();  // of the keys
  InjectArguments result{.gamma = gamma_, .mode = mode_};
  for (const Part& part : parts_) {
    const Slot* slot = find(part, point);
    result.rows.push_back(part.rows < 0 ? dense.size(0) : part.rows);
    result.bases.push_back(at::empty({0}, options));
    if (!slot) {
      result.coefficients.push_back(at::empty({0}, options));
    } else if (slot->basis.empty() || slot->coefficients.requires_grad()) {
      result.coefficients.push_back(in_memory_order(whole_key(*slot).to(options), dense).contiguous());
    } else {
      result.coefficients.push_back(slot->coefficients.to(options).contiguous());
      result.bases.back() = slot->basis[0].matching(dense);
    }
  }
  return result;
}

at::Tensor KeyedPoint::apply(const at::Tensor& h) const {
  return injection ? injection->apply(point, h) : h;
}

InjectArguments KeyedPoint::arguments(const at::Tensor& h) const {
  if (!injection || injection->observer_ || injection->permuted_at(point) || !injection->keyed_at(point)) return {};
  const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
  return injection->arguments(point, h);
}

}  // namespace spankey
