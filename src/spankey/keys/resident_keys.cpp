#include "spankey/keys/resident_keys.h"

#include <ATen/ATen.h>

#include "base/error.h"
#include "spankey/ops/draw_op.h"

namespace spankey {

ResidentKeys::ResidentKeys(const Config& config, const Basis& basis, at::Device device)
    : config_(config.key),
      rules_(config.key, config.run.compat, basis),
      kind_{config.key.inject, config.key.gamma, config.key.multiplier},
      seed_(static_cast<std::uint64_t>(config.run.seed)),
      twin_(config.train.twin) {
  SPANKEY_CHECK(!why_keys_on_host(config));
  for (const at::Tensor& layer : basis.layers) bases_.emplace_back(layer.to(device));
  for (std::int64_t slot = 0; slot < rules_.key_slots(); ++slot) {
    const Gram& gram = rules_.slot_gram(slot);
    grams_.push_back({gram.products.to(device), gram.sums.to(device), gram.width});
  }
  target_ = at::full({rules_.key_slots()}, rules_.target(), at::kDouble).to(device);
}

at::Tensor ResidentKeys::alphas(const at::Tensor& samples, const at::Tensor& position) const {
  return draw_alphas(samples, position, config_.alpha, config_.m, rules_.alpha_slots(), seed_, Purpose::alpha);
}

at::Tensor ResidentKeys::alpha_of(const at::Tensor& alphas, std::int64_t layer) const {
  return alphas.select(0, rules_.slot_of(layer, static_cast<std::size_t>(alphas.size(0))));
}

RowKeys ResidentKeys::correct(const at::Tensor& samples, const at::Tensor& position) const {
  if (twin_ == Twin::vanilla) return [](std::int64_t, std::int64_t) { return Injection::none(); };
  if (config_.rescale == Rescale::batch) {
    const at::Tensor drawn = alphas(samples, position);
    return [this, drawn, std = stds(drawn)](std::int64_t begin, std::int64_t end) {
      return scaled(drawn, std, begin, end);
    };
  }
  return [this, samples, position](std::int64_t begin, std::int64_t end) {
    const at::Tensor drawn = alphas(samples.narrow(0, begin, end - begin), position);
    return scaled(drawn, stds(drawn), 0, end - begin);
  };
}

std::vector<at::Tensor> ResidentKeys::stds(const at::Tensor& alphas) const {
  std::vector<at::Tensor> result(grams_.size());
  if (rules_.target() <= 0) return result;
  for (std::size_t slot = 0; slot < grams_.size(); ++slot)
    result[slot] =
        alpha_std(alpha_of(alphas, static_cast<std::int64_t>(slot)), grams_[slot], config_.rescale == Rescale::key);
  return result;
}

Injection ResidentKeys::scaled(const at::Tensor& alphas, const std::vector<at::Tensor>& stds, std::int64_t begin,
                               std::int64_t end) const {
  std::vector<at::Tensor> result;
  for (std::size_t slot = 0; slot < stds.size(); ++slot) {
    const at::Tensor alpha = alpha_of(alphas, static_cast<std::int64_t>(slot));
    result.push_back(stds[slot].defined() ? scale_alphas(alpha, stds[slot], rules_.target(), begin, end)
                                          : alpha.narrow(0, begin, end - begin));
  }
  return Injection::of_alphas(config_.layers, result, bases_, kind_);
}

at::Tensor ResidentKeys::wrong_target(const at::Tensor& samples, const at::Tensor& position) const {
  if (!rules_.wrong_follows_valid()) return target_;
  const at::Tensor drawn = alphas(samples, position);
  std::vector<at::Tensor> stds;
  for (std::int64_t slot = 0; slot < rules_.key_slots(); ++slot)
    stds.push_back(alpha_std(alpha_of(drawn, slot), grams_[static_cast<std::size_t>(slot)], false));
  return at::cat(stds);
}

Injection ResidentKeys::wrong(const at::Tensor& samples, const at::Tensor& position) const {
  if (twin_ == Twin::vanilla) return Injection::none();
  const at::Tensor target = wrong_target(samples, position);
  const std::int64_t repeats = config_.rescale == Rescale::key ? 1 : samples.numel();
  std::vector<at::Tensor> slots;
  for (std::int64_t slot = 0; slot < rules_.key_slots(); ++slot) {
    const at::Tensor gauss = draw_normals(position, rules_.wrong_width(slot), slot, seed_, Purpose::wrong_key);
    slots.push_back(rescale_key(gauss, target, slot, repeats));
  }
  return Injection::of_keys(config_.layers, rules_.layer_keys(slots), kind_);
}

}  // namespace spankey
