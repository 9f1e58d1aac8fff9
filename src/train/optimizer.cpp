#include "train/optimizer.h"

#include <ATen/ATen.h>

#include <array>
#include <bit>
#include <cmath>
#include <cstdint>

#include "config/names.h"

namespace spankey {
namespace {

class Adam : public Optimizer {
 public:
  Adam(const OptimConfig& config, const at::Tensor& weights, const at::Tensor& gradients, bool decoupled_decay)
      : config_(config),
        decoupled_decay_(decoupled_decay),
        weights_(weights),
        gradients_(gradients),
        exp_avg_(at::zeros_like(weights)),
        exp_avg_sq_(at::zeros_like(weights)),
        steps_(at::zeros({}, weights.options().dtype(at::kFloat))) {}

  void step(const at::Tensor& lr) override {
    steps_.add_(1);
    const auto& c = config_;
    if (decoupled_decay_)
      at::_fused_adamw_({weights_}, {gradients_}, {exp_avg_}, {exp_avg_sq_}, {}, {steps_}, lr, c.betas[0], c.betas[1],
                        c.weight_decay, epsilon, /*amsgrad=*/false, /*maximize=*/false);
    else
      at::_fused_adam_({weights_}, {gradients_}, {exp_avg_}, {exp_avg_sq_}, {}, {steps_}, lr, c.betas[0], c.betas[1],
                       c.weight_decay, epsilon, /*amsgrad=*/false, /*maximize=*/false);
  }
  std::vector<State> state() override { return {{"exp_avg", exp_avg_}, {"exp_avg_sq", exp_avg_sq_}}; }
  void set_steps(std::int64_t steps) override { steps_.fill_(static_cast<double>(steps)); }

 private:
  static constexpr double epsilon = 1e-8;

  OptimConfig config_;
  bool decoupled_decay_;
  at::Tensor weights_, gradients_, exp_avg_, exp_avg_sq_, steps_;
};

class Sgd : public Optimizer {
 public:
  Sgd(const OptimConfig& config, const at::Tensor& weights, const at::Tensor& gradients)
      : config_(config), weights_(weights), gradients_(gradients) {
    if (config.momentum != 0.0) momentum_.push_back(at::zeros_like(weights));
  }

  void step(const at::Tensor& lr) override {
    // It is never a "first step", which would be written into a captured graph. From a momentum of zero the numbers are
    // the same, up to the sign of a zero.
    at::_fused_sgd_({weights_}, {gradients_}, momentum_, config_.weight_decay, config_.momentum, lr,
                    /*dampening=*/0.0, config_.nesterov, /*maximize=*/false, /*is_first_step=*/false);
  }
  std::vector<State> state() override {
    std::vector<State> state;
    for (const at::Tensor& buffer : momentum_) state.push_back({"momentum_buffer", buffer});
    return state;
  }
  void set_steps(std::int64_t) override {}

 private:
  OptimConfig config_;
  at::Tensor weights_, gradients_;
  std::vector<at::Tensor> momentum_;  // one, or none without momentum, because LibTorch takes no buffer then
};

std::unique_ptr<Optimizer> make_adam(const OptimConfig& config, const at::Tensor& weights,
                                     const at::Tensor& gradients) {
  return std::make_unique<Adam>(config, weights, gradients, /*decoupled_decay=*/false);
}

std::unique_ptr<Optimizer> make_adamw(const OptimConfig& config, const at::Tensor& weights,
                                      const at::Tensor& gradients) {
  return std::make_unique<Adam>(config, weights, gradients, /*decoupled_decay=*/true);
}

std::unique_ptr<Optimizer> make_sgd(const OptimConfig& config, const at::Tensor& weights, const at::Tensor& gradients) {
  return std::make_unique<Sgd>(config, weights, gradients);
}

struct Entry {
  std::string_view name;
  std::unique_ptr<Optimizer> (*make)(const OptimConfig&, const at::Tensor&, const at::Tensor&);
};

constexpr auto registry = std::to_array<Entry>({
#define SPANKEY_OPTIMIZER(name, make) {name, make},
#include "config/optimizers.inc"
#undef SPANKEY_OPTIMIZER
});

// On the CPU it looks at the exponents, in a loop that compilers vectorise.
bool all_finite(const at::Tensor& gradients) {
  if (!gradients.is_cpu() || gradients.scalar_type() != at::kFloat)
    return std::isfinite(clip_in_place(gradients, 0.0).item<double>());
  constexpr std::uint32_t exponent = 0x7f800000;
  const float* values = gradients.const_data_ptr<float>();
  std::uint32_t found = 0;
  for (std::int64_t i = 0, size = gradients.numel(); i < size; ++i)
    found |= (std::bit_cast<std::uint32_t>(values[i]) & exponent) == exponent ? 1U : 0U;
  return found == 0;
}

}  // namespace

std::unique_ptr<Optimizer> make_optimizer(const Config& config, const at::Tensor& weights,
                                          const at::Tensor& gradients) {
  return find_named(registry, config.optim.name, "optim.name =").make(config.optim, weights, gradients);
}

at::Tensor rate_tensor(double lr, at::Device device) {
  return at::scalar_tensor(lr, at::TensorOptions(device).dtype(device.is_cpu() ? at::kDouble : at::kFloat));
}

bool clip_gradients(const at::Tensor& gradients, double limit) {
  if (limit <= 0.0) return all_finite(gradients);
  return std::isfinite(clip_in_place(gradients, limit).item<double>());
}

at::Tensor clip_in_place(const at::Tensor& gradients, double limit) {
  // The largest of all sizes, which is not finite where one of them is not. A sum in float64 would copy all of them.
  if (limit <= 0.0) return at::linalg_vector_norm(gradients, INFINITY).to(at::kDouble);
  const at::Tensor norm = gradients.to(at::kDouble).square().sum().sqrt();
  const at::Tensor too_long = norm.gt(limit).logical_and(norm.isfinite());
  gradients.mul_(at::where(too_long, at::full_like(norm, limit) / (norm + 1e-6), at::ones_like(norm)));
  return norm;
}

}  // namespace spankey
