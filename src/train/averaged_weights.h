// An exponential moving average of the weights (train.ema_decay; Polyak & Juditsky 1992).
#pragma once

#include <ATen/core/Tensor.h>

#include <string_view>
#include <utility>
#include <vector>

#include "dist/flat_parameters.h"
#include "spankey/models/model.h"
#include "spankey/models/named_tensor.h"

namespace spankey {

// What the names of these tensors begin with among those of the optimiser's state.
inline constexpr std::string_view average_prefix = "average/";

// Starts as the initial weights, and after each step of the optimiser becomes decay * average + (1 - decay) * weights.
// Running statistics of BatchNorm are averaged likewise. Each element is computed on its own, so that the result does
// not depend on ranks and shards.
class AveragedWeights {
 public:
  // `decay` is above 0 and below 1. `model` holds the parameters of `parameters`.
  AveragedWeights(double decay, const FlatParameters& parameters, const Model& model);

  // Does not wait for the device.
  void update();

  // Lets the network and this object change their weights and buffers, and waits until they have.
  void exchange();

  // Returns tensors named "average/<parameter>" and "average/<buffer>". They are views of what update() changes.
  std::vector<NamedTensor> state() const;

 private:
  struct Pair {
    at::Tensor live, average;
  };

  double decay_;
  const FlatParameters& parameters_;
  std::vector<NamedTensor> buffers_;  // of the average
  std::vector<Pair> pairs_;           // the flat weights, then the buffers
};

// While it exists, the network has the averaged weights. It does nothing without an average.
class WithAveragedWeights {
 public:
  explicit WithAveragedWeights(AveragedWeights* average) : average_(average) {
    if (average_) average_->exchange();
  }
  ~WithAveragedWeights() {
    if (average_) average_->exchange();
  }
  WithAveragedWeights(const WithAveragedWeights&) = delete;
  WithAveragedWeights& operator=(const WithAveragedWeights&) = delete;

 private:
  AveragedWeights* average_;
};

}  // namespace spankey
