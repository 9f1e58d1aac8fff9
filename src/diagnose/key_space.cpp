#include "diagnose/key_space.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace spankey {
namespace {

KeySlot make_slot(const at::Tensor& basis, std::vector<std::int64_t> layers, std::int64_t widest) {
  const at::Tensor rows = basis.to(at::kDouble);
  const at::Tensor mean = rows.sum(0);
  return {.frame = orthonormal_rows(rows),
          .gram = rows.matmul(rows.t()),
          .mean_direction = mean / mean.norm(),
          .layers = std::move(layers),
          .widest = widest};
}

}  // namespace

KeySpace::KeySpace(const KeyConfig& config, const Basis& basis)
    : points_(config.layers), kind_{config.inject, config.gamma, config.multiplier} {
  SPANKEY_CHECK_EQ(basis.layers.size(), config.layers.size());
  for (const at::Tensor& layer : basis.layers) widths_.push_back(layer.size(1));
  std::vector<std::int64_t> all;
  for (std::size_t i = 0; i < widths_.size(); ++i) all.push_back(static_cast<std::int64_t>(i));
  if (config.layout == Layout::shared_prefix && !config.per_layer_key) {
    const auto widest = std::max_element(widths_.begin(), widths_.end()) - widths_.begin();
    slots_.push_back(make_slot(basis.layers[static_cast<std::size_t>(widest)], all, widest));
    return;
  }
  for (const std::int64_t layer : all)
    slots_.push_back(make_slot(basis.layers[static_cast<std::size_t>(layer)], {layer}, layer));
}

std::int64_t KeySpace::width() const {
  std::int64_t width = 0;
  for (const auto& slot : slots_) width += slot.width();
  return width;
}

std::vector<std::int64_t> KeySpace::points_of(const KeySlot& slot) const {
  std::vector<std::int64_t> points;
  for (const std::int64_t layer : slot.layers) points.push_back(points_[static_cast<std::size_t>(layer)]);
  return points;
}

std::vector<at::Tensor> KeySpace::keys_of(const Injection& injection) const {
  std::vector<at::Tensor> keys;
  for (const auto& slot : slots_) {
    keys.push_back(injection.keys_at(points_[static_cast<std::size_t>(slot.widest)]));
    SPANKEY_CHECK(keys.back().defined());
  }
  return keys;
}

std::vector<at::Tensor> KeySpace::no_keys(std::int64_t rows, at::ScalarType type) const {
  std::vector<at::Tensor> keys;
  for (const auto& slot : slots_) keys.push_back(at::zeros({rows, slot.width()}, type));
  return keys;
}

Injection KeySpace::injection(const std::vector<at::Tensor>& keys, const InjectionKind& kind) const {
  SPANKEY_CHECK_EQ(keys.size(), slots_.size());
  std::vector<at::Tensor> layers(points_.size());
  for (std::size_t s = 0; s < slots_.size(); ++s)
    for (const std::int64_t layer : slots_[s].layers) {
      const auto l = static_cast<std::size_t>(layer);
      layers[l] = keys[s].narrow(1, 0, widths_[l]);
    }
  return Injection::of_keys(points_, layers, kind);
}

SpanEnergy span_energy(const at::Tensor& rows, const KeySlot& slot) {
  const at::Tensor g = rows.to(at::kDouble);  // (n, d)
  const at::Tensor inside = g.matmul(slot.frame.t());
  const at::Tensor along = g.mv(slot.mean_direction);
  return {.total = g.square().sum(1),
          .in_span = inside.square().sum(1),
          .along_mean = along.square(),
          .mean_component = along};
}

}  // namespace spankey
