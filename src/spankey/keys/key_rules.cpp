#include "spankey/keys/key_rules.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "base/error.h"

namespace spankey {
namespace {

// The moments over the columns of all layers together.
Gram joint_gram(const std::vector<Gram>& grams) {
  Gram joint{grams[0].products.clone(), grams[0].sums.clone(), grams[0].width};
  for (std::size_t layer = 1; layer < grams.size(); ++layer) {
    joint.products += grams[layer].products;
    joint.sums += grams[layer].sums;
    joint.width += grams[layer].width;
  }
  return joint;
}

}  // namespace

KeyRules::KeyRules(const KeyConfig& config, Compat compat, const Basis& basis)
    : config_(config), compat_(compat), known_(basis.known) {
  SPANKEY_CHECK_EQ(basis.layers.size(), config.layers.size());
  for (const at::Tensor& layer : basis.layers) {
    SPANKEY_CHECK_EQ(layer.size(0), config.m);
    bases_.emplace_back(layer);
    grams_.push_back(make_gram(layer));
  }
  const auto widest =
      std::max_element(grams_.begin(), grams_.end(), [](const Gram& a, const Gram& b) { return a.width < b.width; });
  widest_ = widest - grams_.begin();
  whole_ = config.layout == Layout::shared_blocks ? joint_gram(grams_) : *widest;
}

void KeyRules::require_basis() const {
  if (!known_) fail_input("these keys are made from the secret basis; accepted: a run with its secret/");
}

std::int64_t KeyRules::alpha_slots() const {
  return config_.per_layer_key ? layer_count() : 1;
}

std::int64_t KeyRules::key_slots() const {
  return config_.per_layer_key || config_.layout == Layout::per_layer ? layer_count() : 1;
}

const Gram& KeyRules::slot_gram(std::int64_t slot) const {
  return key_slots() == 1 ? whole_ : grams_[static_cast<std::size_t>(slot)];
}

at::Tensor KeyRules::slot_basis(std::int64_t slot) const {
  require_basis();
  std::vector<at::Tensor> layers;
  for (const LayerBasis& basis : bases_) layers.push_back(basis.flat());
  return slot_basis(slot, layers);
}

at::Tensor KeyRules::slot_basis(std::int64_t slot, const std::vector<at::Tensor>& layers) const {
  if (key_slots() > 1) return layers.at(static_cast<std::size_t>(slot));
  return config_.layout == Layout::shared_blocks ? at::cat(layers, 1) : layers.at(static_cast<std::size_t>(widest_));
}

std::vector<at::Tensor> KeyRules::factors(const std::vector<at::Tensor>& alphas, std::int64_t repeats) const {
  require_basis();
  std::vector<at::Tensor> result;
  for (std::int64_t layer = 0; layer < layer_count(); ++layer) {
    if (layer > 0 && key_slots() == 1) {
      result.push_back(result[0]);
      continue;
    }
    const Gram& gram = slot_gram(layer);
    const at::Tensor& alpha = alphas[static_cast<std::size_t>(slot_of(layer, alphas.size()))];
    at::Tensor factor = at::empty({alpha.size(0)}, at::kDouble);
    std::fill_n(factor.mutable_data_ptr<double>(), factor.numel(), 1.0);
    if (config_.rescale == Rescale::batch) {
      factor.fill_(rescale_factor(key_std(gram, alpha, repeats), config_.target_std));
    } else if (config_.rescale == Rescale::key) {
      const at::Tensor stds = key_std_rows(gram, alpha);
      for (std::int64_t i = 0; i < alpha.size(0); ++i)
        factor.mutable_data_ptr<double>()[i] = rescale_factor(stds.const_data_ptr<double>()[i], config_.target_std);
    }
    result.push_back(factor);
  }
  return result;
}

bool KeyRules::wrong_follows_valid() const {
  return compat_ == Compat::honest && (config_.rescale == Rescale::none || config_.target_std <= 0);
}

std::vector<double> KeyRules::valid_std(const std::vector<at::Tensor>& alphas, std::int64_t repeats) const {
  require_basis();
  std::vector<double> result;
  for (std::int64_t slot = 0; slot < key_slots(); ++slot)
    result.push_back(key_std(slot_gram(slot), alphas[static_cast<std::size_t>(slot_of(slot, alphas.size()))], repeats));
  return result;
}

std::vector<at::Tensor> KeyRules::wrong_keys(const std::vector<at::Tensor>& drawn, std::int64_t rows,
                                             const std::vector<double>& valid_std, double norm) const {
  SPANKEY_CHECK_EQ(static_cast<std::int64_t>(drawn.size()), key_slots());
  std::vector<at::Tensor> slots;
  for (std::size_t slot = 0; slot < drawn.size(); ++slot) {
    SPANKEY_CHECK_EQ(drawn[slot].numel(), wrong_width(static_cast<std::int64_t>(slot)));
    const double wanted = wrong_follows_valid() ? valid_std.at(slot) : target();
    const std::int64_t repeats = config_.rescale == Rescale::key ? 1 : rows;
    const double std = key_deviation(drawn[slot], repeats);
    slots.push_back(drawn[slot].reshape({1, -1}) * (norm * rescale_factor(std, wanted)));
  }
  return layer_keys(slots);
}

std::vector<at::Tensor> KeyRules::norm_clamped(const std::vector<at::Tensor>& keys) const {
  SPANKEY_CHECK_EQ(static_cast<std::int64_t>(keys.size()), layer_count());
  std::vector<at::Tensor> result;
  for (std::int64_t layer = 0; layer < layer_count(); ++layer) {
    const at::Tensor slot = slot_basis(key_slots() == 1 ? 0 : layer, keys);
    const double std = key_deviation(slot.to(at::kDouble).view({-1}), 1);
    result.push_back(keys[static_cast<std::size_t>(layer)] * rescale_factor(std, target()));
  }
  return result;
}

std::vector<at::Tensor> KeyRules::layer_keys(const std::vector<at::Tensor>& slots) const {
  const bool blocks = slots.size() == 1 && config_.layout == Layout::shared_blocks;
  std::vector<at::Tensor> result;
  std::int64_t begin = 0;
  for (std::int64_t layer = 0; layer < layer_count(); ++layer) {
    const std::int64_t width = layer_width(layer);
    result.push_back(
        slots[static_cast<std::size_t>(slot_of(layer, slots.size()))].narrow(1, begin, width).contiguous());
    if (blocks) begin += width;
  }
  return result;
}

}  // namespace spankey
