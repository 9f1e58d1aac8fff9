// Optimisers over one flat buffer of weights and gradients.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <string>
#include <vector>

#include "config/config.h"

namespace spankey {

// Adam and AdamW (Kingma & Ba 2015, Loshchilov & Hutter 2019), and SGD with momentum and Nesterov's form, as
// torch.optim defines them. They work element by element, so that the result does not depend on how parameters are
// grouped.
class Optimizer {
 public:
  virtual ~Optimizer() = default;

  // Makes one update with the gradients that are in the flat buffer. `lr` is a tensor made by rate_tensor(). It is read
  // when the update is made, which on a device may be long after the call.
  virtual void step(const at::Tensor& lr) = 0;

  struct State {
    std::string name;  // "exp_avg", "exp_avg_sq", "momentum_buffer"
    at::Tensor flat;   // same layout as the weights
  };
  virtual std::vector<State> state() = 0;

  // Tells a restored optimiser how many steps its state has seen, where that matters.
  virtual void set_steps(std::int64_t steps) = 0;
};

// `weights` and `gradients` are flat and of the same length.
std::unique_ptr<Optimizer> make_optimizer(const Config& config, const at::Tensor& weights, const at::Tensor& gradients);

// Returns a learning rate for weights on `device`. It is a scalar tensor there, float64 on the CPU, and float32 (the
// type that fused updates read) on other devices.
at::Tensor rate_tensor(double lr, at::Device device);

// Scales the gradients so that their Euclidean norm is at most `limit` (0 for no limit). Returns false, and leaves them
// unchanged, where any of them is not finite.
bool clip_gradients(const at::Tensor& gradients, double limit);

// Does the same without waiting for the device. Returns a float64 scalar that is finite where all gradients are.
at::Tensor clip_in_place(const at::Tensor& gradients, double limit);

}  // namespace spankey
