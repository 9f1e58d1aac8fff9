#include "spankey/key_maker.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "base/error.h"

namespace spankey {
namespace {

StreamId stream_id(std::uint64_t seed, Purpose purpose, std::int64_t epoch, std::int64_t step, std::int64_t sample,
                   std::size_t slot) {
  return {.seed = seed,
          .purpose = purpose,
          .epoch = static_cast<std::uint32_t>(epoch),
          .step = static_cast<std::uint32_t>(step),
          .sample = static_cast<std::uint64_t>(sample),
          .layer = static_cast<std::uint32_t>(slot)};
}

// Rows begin .. end-1 of `alpha` (n, m), float32, each times its factor (n), float64. A plain loop: for a small batch
// the tensor operations cost more than the numbers.
at::Tensor scaled_rows(const at::Tensor& alpha, const at::Tensor& factor, std::int64_t begin, std::int64_t end) {
  const std::int64_t m = alpha.size(1);
  at::Tensor result = at::empty({end - begin, m}, at::kFloat);
  const float* in = alpha.const_data_ptr<float>() + begin * m;
  const double* times = factor.const_data_ptr<double>() + begin;
  float* out = result.mutable_data_ptr<float>();
  for (std::int64_t row = 0; row < end - begin; ++row)
    for (std::int64_t i = 0; i < m; ++i) out[row * m + i] = static_cast<float>(in[row * m + i] * times[row]);
  return result;
}

}  // namespace

// ------------------------------------------------------------------------------------------------- KeyRules

KeyRules::KeyRules(const KeyConfig& config, Compat compat, const Basis& basis) : config_(config), compat_(compat) {
  SPANKEY_CHECK_EQ(basis.layers.size(), config.layers.size());
  for (const at::Tensor& layer : basis.layers) {
    SPANKEY_CHECK_EQ(layer.size(0), config.m);
    bases_.emplace_back(layer);
    grams_.push_back(make_gram(layer));
  }
  const auto widest =
      std::max_element(grams_.begin(), grams_.end(), [](const Gram& a, const Gram& b) { return a.width < b.width; });
  widest_ = widest - grams_.begin();
}

std::int64_t KeyRules::alpha_slots() const {
  return config_.per_layer_key ? layer_count() : 1;
}

std::int64_t KeyRules::wrong_slots() const {
  return config_.per_layer_key || config_.layout == Layout::per_layer ? layer_count() : 1;
}

std::int64_t KeyRules::wrong_width(std::int64_t slot) const {
  return grams_[static_cast<std::size_t>(wrong_slots() == 1 ? widest_ : slot)].width;
}

bool KeyRules::one_factor() const {
  return wrong_slots() == 1;
}

std::int64_t KeyRules::slot_of(std::int64_t layer, std::size_t slots) const {
  return slots == 1 ? 0 : layer;
}

std::vector<at::Tensor> KeyRules::factors(const std::vector<at::Tensor>& alphas, std::int64_t repeats) const {
  std::vector<at::Tensor> result;
  for (std::int64_t layer = 0; layer < layer_count(); ++layer) {
    if (layer > 0 && one_factor()) {
      result.push_back(result[0]);
      continue;
    }
    const Gram& gram = grams_[static_cast<std::size_t>(one_factor() ? widest_ : layer)];
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
  std::vector<double> result;
  for (std::int64_t slot = 0; slot < wrong_slots(); ++slot) {
    const Gram& gram = grams_[static_cast<std::size_t>(one_factor() ? widest_ : slot)];
    result.push_back(key_std(gram, alphas[static_cast<std::size_t>(slot_of(slot, alphas.size()))], repeats));
  }
  return result;
}

std::vector<at::Tensor> KeyRules::wrong_keys(const std::vector<at::Tensor>& gauss, std::int64_t rows,
                                             const std::vector<double>& valid_std) const {
  SPANKEY_CHECK_EQ(static_cast<std::int64_t>(gauss.size()), wrong_slots());
  std::vector<at::Tensor> slots;
  for (std::size_t slot = 0; slot < gauss.size(); ++slot) {
    SPANKEY_CHECK_EQ(gauss[slot].numel(), wrong_width(static_cast<std::int64_t>(slot)));
    double target = config_.rescale == Rescale::none ? 0.0 : config_.target_std;
    if (wrong_follows_valid()) target = valid_std.at(slot);
    const std::int64_t repeats = config_.rescale == Rescale::key ? 1 : rows;
    slots.push_back(gauss[slot].reshape({1, -1}) * rescale_factor(expanded_std(gauss[slot], repeats), target));
  }
  std::vector<at::Tensor> result;
  for (std::int64_t layer = 0; layer < layer_count(); ++layer)
    result.push_back(slots[static_cast<std::size_t>(slot_of(layer, slots.size()))]
                         .narrow(1, 0, grams_[static_cast<std::size_t>(layer)].width)
                         .contiguous());
  return result;
}

// ------------------------------------------------------------------------------------------------- KeyMaker

KeyMaker::KeyMaker(const KeyConfig& config, Compat compat, Basis basis, std::uint64_t run_seed)
    : config_(config),
      compat_(compat),
      rules_(config, compat, basis),
      kind_{config.inject, config.gamma, config.multiplier},
      seed_(run_seed) {}

std::vector<at::Tensor> KeyMaker::batch_alphas(std::int64_t epoch, std::int64_t step,
                                               std::span<const std::int64_t> samples) const {
  const auto n = static_cast<std::int64_t>(samples.size());
  std::vector<at::Tensor> slots;
  for (std::int64_t slot = 0; slot < rules_.alpha_slots(); ++slot) {
    at::Tensor alphas = at::empty({n, config_.m}, at::kFloat);
    for (std::int64_t i = 0; i < n; ++i)
      Stream(stream_id(seed_, Purpose::alpha, epoch, step, samples[static_cast<std::size_t>(i)],
                       static_cast<std::size_t>(slot)))
          .fill_uniform(
              std::span(alphas.mutable_data_ptr<float>() + i * config_.m, static_cast<std::size_t>(config_.m)));
    slots.push_back(alphas);
  }
  return slots;
}

std::vector<at::Tensor> KeyMaker::evaluation_alphas(std::int64_t key_index) const {
  const bool independent = compat_ == Compat::reference && config_.layout == Layout::per_layer;
  const std::int64_t slots = independent ? rules_.layer_count() : rules_.alpha_slots();
  std::vector<at::Tensor> alphas;
  for (std::int64_t slot = 0; slot < slots; ++slot) {
    at::Tensor alpha = at::empty({1, config_.m}, at::kFloat);
    Stream(stream_id(seed_, Purpose::eval_alpha, 0, 0, key_index, static_cast<std::size_t>(slot)))
        .fill_uniform(std::span(alpha.mutable_data_ptr<float>(), static_cast<std::size_t>(config_.m)));
    alphas.push_back(alpha);
  }
  return alphas;
}

std::vector<at::Tensor> KeyMaker::gaussians(Purpose purpose, std::int64_t epoch, std::int64_t step,
                                            std::int64_t sample) const {
  std::vector<at::Tensor> slots;
  for (std::int64_t slot = 0; slot < rules_.wrong_slots(); ++slot) {
    at::Tensor gauss = at::empty({rules_.wrong_width(slot)}, at::kFloat);
    Stream(stream_id(seed_, purpose, epoch, step, sample, static_cast<std::size_t>(slot)))
        .fill_normal({gauss.mutable_data_ptr<float>(), static_cast<std::size_t>(gauss.numel())});
    slots.push_back(gauss);
  }
  return slots;
}

Injection KeyMaker::keyed(const std::vector<at::Tensor>& alphas, const std::vector<at::Tensor>& factors,
                          std::int64_t begin, std::int64_t end) const {
  std::vector<at::Tensor> scaled;
  for (std::size_t layer = 0; layer < factors.size(); ++layer)
    scaled.push_back(scaled_rows(alphas[alphas.size() == 1 ? 0 : layer], factors[layer], begin, end));
  return Injection::of_alphas(config_.layers, scaled, rules_.bases(), kind_);
}

Injection KeyMaker::correct(std::int64_t epoch, std::int64_t step, std::span<const std::int64_t> global_samples,
                            std::int64_t begin, std::int64_t end) const {
  SPANKEY_CHECK(0 <= begin && begin <= end && end <= static_cast<std::int64_t>(global_samples.size()));
  if (config_.rescale != Rescale::batch) {  // a key depends on its own sample alone
    global_samples = global_samples.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin));
    end -= begin;
    begin = 0;
  }
  const auto alphas = batch_alphas(epoch, step, global_samples);
  return keyed(alphas, rules_.factors(alphas), begin, end);
}

Injection KeyMaker::wrong(std::int64_t epoch, std::int64_t step, std::span<const std::int64_t> global_samples) const {
  std::vector<double> valid;
  if (rules_.wrong_follows_valid()) valid = rules_.valid_std(batch_alphas(epoch, step, global_samples));
  return Injection::of_keys(config_.layers,
                            rules_.wrong_keys(gaussians(Purpose::wrong_key, epoch, step, 0),
                                              static_cast<std::int64_t>(global_samples.size()), valid),
                            kind_);
}

Injection KeyMaker::evaluation_correct(std::int64_t key_index, std::int64_t rows) const {
  const auto alphas = evaluation_alphas(key_index);
  return keyed(alphas, rules_.factors(alphas, rows), 0, 1);
}

Injection KeyMaker::evaluation_wrong(std::int64_t key_index, std::int64_t rows) const {
  std::vector<double> valid;
  if (rules_.wrong_follows_valid()) valid = rules_.valid_std(evaluation_alphas(key_index), rows);
  return Injection::of_keys(config_.layers,
                            rules_.wrong_keys(gaussians(Purpose::eval_wrong_key, 0, 0, key_index), rows, valid), kind_);
}

}  // namespace spankey
