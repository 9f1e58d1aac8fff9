#include "spankey/keys/key_maker.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "base/error.h"
#include "spankey/ops/draw_body.h"
#include "spankey/ops/draw_op.h"
#include "spankey/ops/inject_op.h"

namespace spankey {
namespace {

StreamId stream_id(std::uint64_t seed, Purpose purpose, std::int64_t epoch, std::int64_t step, std::int64_t sample,
                   std::int64_t slot = 0) {
  return {.seed = seed,
          .purpose = purpose,
          .epoch = static_cast<std::uint32_t>(epoch),
          .step = static_cast<std::uint32_t>(step),
          .sample = static_cast<std::uint64_t>(sample),
          .layer = static_cast<std::uint32_t>(slot)};
}

// Rows begin .. end-1 of `alpha` (n, m), float32, each times its factor (n), float64. This is a plain loop, because
// tensor operations cost more than the numbers for a small batch.
at::Tensor scaled_rows(const at::Tensor& alpha, const at::Tensor& factor, std::int64_t begin, std::int64_t end) {
  SPANKEY_CHECK(0 <= begin && begin <= end && end <= alpha.size(0));
  const std::int64_t m = alpha.size(1);
  at::Tensor result = at::empty({end - begin, m}, at::kFloat);
  const float* in = alpha.const_data_ptr<float>() + begin * m;
  const double* times = factor.const_data_ptr<double>() + begin;
  float* out = result.mutable_data_ptr<float>();
  for (std::int64_t row = 0; row < end - begin; ++row)
    for (std::int64_t i = 0; i < m; ++i) out[row * m + i] = draw_body::scaled(in[row * m + i], times[row]);
  return result;
}

}  // namespace

KeyMaker::KeyMaker(const KeyConfig& config, Compat compat, const Basis& basis, std::uint64_t run_seed,
                   const KeyMakerOptions& options)
    : config_(config),
      compat_(compat),
      rules_(config, compat, basis),
      draw_alpha_(config.alpha, config.m, key_seed(config, run_seed)),
      kind_{config.inject, config.gamma, config.multiplier, options.permuted},
      valid_order_(cone_permutation(rules_.bases(), options.permuted)),
      seed_(run_seed),
      twin_(options.twin) {
  SPANKEY_CHECK(!options.families.empty());
  for (const std::string& name : options.families) families_.push_back(&find_key_family(name));
  if (options.retired != nullptr) retired_.emplace(config, compat, *options.retired);
}

KeyMaker::KeyMaker(const Config& config, const Basis& basis, at::Device device, const Basis* retired)
    : KeyMaker(config.key, config.run.compat, basis, static_cast<std::uint64_t>(config.run.seed),
               {.twin = config.train.twin,
                .families = config.deny.families,
                .permuted = permuted_points(config),
                .retired = retired}) {
  if (retired_ || why_keys_on_host(config)) return;
  for (const at::Tensor& layer : basis.layers) device_bases_.emplace_back(layer.to(device));
  std::vector<Gram> grams;
  for (std::int64_t slot = 0; slot < rules_.key_slots(); ++slot) grams.push_back(rules_.slot_gram(slot));
  device_grams_ = slot_grams(grams, device);
  device_target_ = at::full({rules_.key_slots()}, rules_.target(), at::kDouble).to(device);
}

KeyMaker::Alphas KeyMaker::batch_alphas(std::int64_t epoch, std::int64_t step,
                                        std::span<const std::int64_t> samples) const {
  const auto n = static_cast<std::int64_t>(samples.size());
  Alphas slots;
  for (std::int64_t slot = 0; slot < rules_.alpha_slots(); ++slot) {
    at::Tensor alphas = at::empty({n, config_.m}, at::kFloat);
    for (std::int64_t i = 0; i < n; ++i)
      draw_alpha_(stream_id(seed_, Purpose::alpha, epoch, step, samples[static_cast<std::size_t>(i)], slot),
                  {alphas.mutable_data_ptr<float>() + i * config_.m, static_cast<std::size_t>(config_.m)});
    slots.push_back(alphas);
  }
  return slots;
}

KeyMaker::Alphas KeyMaker::evaluation_alphas(std::int64_t key_index) const {
  if (twin_ == Twin::fixed_key) key_index = 0;
  const bool independent = compat_ == Compat::reference && config_.layout == Layout::per_layer;
  const std::int64_t slots = independent ? rules_.layer_count() : rules_.alpha_slots();
  Alphas alphas;
  for (std::int64_t slot = 0; slot < slots; ++slot) {
    at::Tensor alpha = at::empty({1, config_.m}, at::kFloat);
    draw_alpha_(stream_id(seed_, Purpose::eval_alpha, 0, 0, key_index, slot),
                {alpha.mutable_data_ptr<float>(), static_cast<std::size_t>(config_.m)});
    alphas.push_back(alpha);
  }
  return alphas;
}

at::Tensor KeyMaker::gaussian(StreamId id, std::int64_t slot) const {
  id.layer = static_cast<std::uint32_t>(slot);
  at::Tensor gauss = at::empty({rules_.wrong_width(slot)}, at::kFloat);
  Stream(id).fill_normal({gauss.mutable_data_ptr<float>(), static_cast<std::size_t>(gauss.numel())});
  return gauss;
}

Injection KeyMaker::keyed(const Alphas& alphas, const std::vector<at::Tensor>& factors, std::int64_t begin,
                          std::int64_t end) const {
  std::vector<at::Tensor> scaled;
  for (std::size_t layer = 0; layer < factors.size(); ++layer)
    scaled.push_back(scaled_rows(alphas[alphas.size() == 1 ? 0 : layer], factors[layer], begin, end));
  return Injection::of_alphas(config_.layers, scaled, rules_.bases(), kind_, valid_order_);
}

// Every key is brought to the target on its own, whatever key.rescale says, because noise has no span with a common
// factor.
RowKeys KeyMaker::noise(std::int64_t epoch, std::int64_t step, std::span<const std::int64_t> samples) const {
  std::vector<double> targets(static_cast<std::size_t>(rules_.key_slots()), config_.target_std);
  if (config_.rescale == Rescale::none || config_.target_std <= 0)
    targets = rules_.valid_std(batch_alphas(epoch, step, samples));
  return [this, epoch, step, samples, targets](std::int64_t begin, std::int64_t end) {
    std::vector<at::Tensor> slots;
    for (std::int64_t slot = 0; slot < rules_.key_slots(); ++slot) {
      at::Tensor keys = at::empty({end - begin, rules_.wrong_width(slot)}, at::kFloat);
      for (std::int64_t i = begin; i < end; ++i) {
        const at::Tensor key =
            gaussian(stream_id(seed_, Purpose::noise_key, epoch, step, samples[static_cast<std::size_t>(i)]), slot);
        keys[i - begin] = key * rescale_factor(expanded_std(key, 1), targets[static_cast<std::size_t>(slot)]);
      }
      slots.push_back(keys);
    }
    return Injection::of_keys(config_.layers, rules_.layer_keys(slots), kind_);
  };
}

RowKeys KeyMaker::correct(std::int64_t epoch, std::int64_t step, std::span<const std::int64_t> global_samples) const {
  if (twin_ == Twin::vanilla) return [](std::int64_t, std::int64_t) { return Injection::none(); };
  if (twin_ == Twin::noise) return noise(epoch, step, global_samples);
  if (twin_ == Twin::fixed_key) {
    const auto key = evaluation_correct(0, std::ssize(global_samples));
    return [key](std::int64_t, std::int64_t) { return key; };
  }
  if (config_.rescale == Rescale::batch) {
    const auto alphas = batch_alphas(epoch, step, global_samples);
    const auto factors = rules_.factors(alphas);
    return [this, alphas, factors](std::int64_t begin, std::int64_t end) { return keyed(alphas, factors, begin, end); };
  }
  return [this, epoch, step, global_samples](std::int64_t begin, std::int64_t end) {
    const auto rows = end - begin;
    const auto alphas = batch_alphas(
        epoch, step, global_samples.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(rows)));
    return keyed(alphas, rules_.factors(alphas), 0, rows);
  };
}

std::vector<at::Tensor> KeyMaker::wrong_key(const WrongKey& key, std::int64_t rows,
                                            const std::vector<double>& valid_std, double norm) const {
  std::vector<at::Tensor> drawn;
  for (std::int64_t slot = 0; slot < rules_.key_slots(); ++slot) {
    const std::int64_t alpha_slot = rules_.slot_of(slot, key.companion.size());
    const FamilyInputs inputs{.config = config_,
                              .rules = rules_,
                              .slot = slot,
                              .alpha_slot = alpha_slot,
                              .alpha = key.companion[static_cast<std::size_t>(alpha_slot)][0],
                              .gauss = gaussian(key.gauss_id, slot),
                              .id = key.id,
                              .number = key.number};
    drawn.push_back(key.family.draw(inputs));
    if (slot == 0 && key.family.norm) norm *= key.family.norm(inputs);
  }
  return rules_.wrong_keys(drawn, rows, valid_std, norm);
}

Injection KeyMaker::injected(std::vector<at::Tensor> keys) const {
  for (at::Tensor& layer : keys) layer = layer.to(at::kFloat);
  return Injection::of_keys(config_.layers, keys, kind_);
}

Injection KeyMaker::retired_key(std::int64_t epoch, std::int64_t step, std::int64_t rows) const {
  Alphas alphas;
  for (std::int64_t slot = 0; slot < retired_->alpha_slots(); ++slot) {
    alphas.push_back(at::empty({1, config_.m}, at::kFloat));
    draw_alpha_(stream_id(seed_, Purpose::retired_alpha, epoch, step, 0, slot),
                {alphas.back().mutable_data_ptr<float>(), static_cast<std::size_t>(config_.m)});
  }
  const auto factors = retired_->factors(alphas, rows);
  std::vector<at::Tensor> scaled;
  for (std::size_t layer = 0; layer < factors.size(); ++layer)
    scaled.push_back(scaled_rows(alphas[alphas.size() == 1 ? 0 : layer], factors[layer], 0, 1));
  return Injection::of_alphas(config_.layers, scaled, retired_->bases(), kind_);
}

Injection KeyMaker::wrong(std::int64_t epoch, std::int64_t step, std::span<const std::int64_t> global_samples) const {
  if (twin_ == Twin::vanilla) return Injection::none();
  if (retired_ && Stream(stream_id(seed_, Purpose::retired_alpha, epoch, step, 1)).below(0, 2) == 0)
    return retired_key(epoch, step, std::ssize(global_samples));
  std::vector<double> valid;
  if (rules_.wrong_follows_valid()) valid = rules_.valid_std(batch_alphas(epoch, step, global_samples));
  const StreamId id = stream_id(seed_, Purpose::key_family, epoch, step, 0);
  // The choice and the number have a stream that the families, whose sample is 0, cannot meet.
  const Stream choice(stream_id(seed_, Purpose::key_family, epoch, step, 1));
  const KeyFamily& family = *families_[choice.below(0, families_.size())];
  const Alphas companion =
      twin_ == Twin::fixed_key ? evaluation_alphas(0) : batch_alphas(epoch, step, global_samples.first(1));
  return injected(wrong_key({.family = family,
                             .gauss_id = stream_id(seed_, Purpose::wrong_key, epoch, step, 0),
                             .id = id,
                             .number = choice.below(1, std::uint64_t{1} << 32),
                             .companion = companion},
                            static_cast<std::int64_t>(global_samples.size()), valid, 1.0));
}

at::Tensor KeyMaker::device_alphas(const at::Tensor& samples, const at::Tensor& position) const {
  SPANKEY_CHECK(!device_bases_.empty());
  return draw_alphas(samples, position, config_.alpha, config_.m, rules_.alpha_slots(), seed_, Purpose::alpha);
}

at::Tensor KeyMaker::slot_alphas(const at::Tensor& alphas, std::size_t slot) const {
  const auto slots = static_cast<std::size_t>(alphas.size(0));
  return alphas.select(0, rules_.slot_of(static_cast<std::int64_t>(slot), slots));
}

RowKeys KeyMaker::correct(const at::Tensor& samples, const at::Tensor& position) const {
  if (twin_ == Twin::vanilla) return [](std::int64_t, std::int64_t) { return Injection::none(); };
  if (config_.rescale == Rescale::batch) {
    const at::Tensor drawn = device_alphas(samples, position);
    return [this, drawn, stds = deviations(drawn)](std::int64_t begin, std::int64_t end) {
      return device_keyed(drawn, stds, begin, end);
    };
  }
  return [this, samples, position](std::int64_t begin, std::int64_t end) {
    const at::Tensor drawn = device_alphas(samples.narrow(0, begin, end - begin), position);
    return device_keyed(drawn, deviations(drawn), 0, end - begin);
  };
}

// (key slots, n or 1), undefined where keys are not rescaled.
at::Tensor KeyMaker::deviations(const at::Tensor& alphas) const {
  if (rules_.target() <= 0) return {};
  return alpha_std(alphas, device_grams_, config_.rescale == Rescale::key);
}

Injection KeyMaker::device_keyed(const at::Tensor& alphas, const at::Tensor& deviations, std::int64_t begin,
                                 std::int64_t end) const {
  const at::Tensor scaled = deviations.defined() ? scale_alphas(alphas, deviations, rules_.target(), begin, end)
                                                 : alphas.narrow(1, begin, end - begin);
  std::vector<at::Tensor> slots;
  for (std::int64_t slot = 0; slot < rules_.key_slots(); ++slot)
    slots.push_back(slot_alphas(scaled, static_cast<std::size_t>(slot)));
  return Injection::of_alphas(config_.layers, slots, device_bases_, kind_, valid_order_);
}

at::Tensor KeyMaker::wrong_target(const at::Tensor& samples, const at::Tensor& position) const {
  if (!rules_.wrong_follows_valid()) return device_target_;
  return alpha_std(device_alphas(samples, position), device_grams_, /*each=*/false).view({-1});
}

Injection KeyMaker::wrong(const at::Tensor& samples, const at::Tensor& position) const {
  if (twin_ == Twin::vanilla) return Injection::none();
  SPANKEY_CHECK(!device_bases_.empty());
  const at::Tensor target = wrong_target(samples, position);
  const std::int64_t repeats = config_.rescale == Rescale::key ? 1 : samples.numel();
  std::vector<std::int64_t> widths;
  for (std::int64_t slot = 0; slot < rules_.key_slots(); ++slot) widths.push_back(rules_.wrong_width(slot));
  const auto slots = draw_wrong_keys(position, widths, target, repeats, seed_, Purpose::wrong_key);
  return Injection::of_keys(config_.layers, rules_.layer_keys(slots), kind_);
}

Injection KeyMaker::evaluation_correct(std::int64_t key_index, std::int64_t rows, double norm) const {
  if (twin_ == Twin::vanilla) return Injection::none();
  const auto alphas = evaluation_alphas(key_index);
  auto factors = rules_.factors(alphas, rows);
  if (norm != 1.0 && !config_.norm_clamp)
    for (at::Tensor& factor : factors) factor = factor * norm;
  return keyed(alphas, factors, 0, 1);
}

Injection KeyMaker::evaluation_wrong(std::int64_t key_index, std::int64_t rows, const KeyFamily& family,
                                     double norm) const {
  if (twin_ == Twin::vanilla) return Injection::none();
  const Alphas companion = evaluation_alphas(key_index);
  std::vector<double> valid;
  if (rules_.wrong_follows_valid()) valid = rules_.valid_std(companion, rows);
  const auto keys = wrong_key({.family = family,
                               .gauss_id = stream_id(seed_, Purpose::eval_wrong_key, 0, 0, key_index),
                               .id = stream_id(seed_, Purpose::eval_key_family, 0, 0, key_index),
                               .number = static_cast<std::uint64_t>(key_index),
                               .companion = companion},
                              rows, valid, norm);
  return injected(config_.norm_clamp ? rules_.norm_clamped(keys) : keys);
}

std::optional<Saturation> KeyMaker::saturation(const Injection& key) const {
  if (twin_ == Twin::vanilla || kind_.inject != Inject::mul || kind_.multiplier != Multiplier::clamp)
    return std::nullopt;
  double low = 0, high = 0, all = 0;
  for (std::int64_t layer = 0; layer < rules_.layer_count(); ++layer) {
    const at::Tensor ones = at::ones({1, rules_.layer_width(layer)});
    const at::Tensor s = key.apply(config_.layers[static_cast<std::size_t>(layer)], ones);
    low += s.le(static_cast<float>(multiplier_low)).sum().item<double>();
    high += s.ge(static_cast<float>(multiplier_high)).sum().item<double>();
    all += static_cast<double>(s.numel());
  }
  return Saturation{low / all, high / all};
}

}  // namespace spankey
