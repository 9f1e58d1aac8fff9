// Batch normalisation over (n, H, W) with control over its running statistics. Training with keys takes several passes
// a step, each cut into shards, and a policy (model.batchnorm) says which of them count.
#pragma once

#include <ATen/core/Tensor.h>
#include <torch/nn/module.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "spankey/keys/injection.h"
#include "spankey/ops/batch_norm_op.h"

namespace spankey {

// The statistics of training passes in one layer, without gradient.
struct BatchStatistics {
  at::Tensor mean, variance;  // (groups, C), with the unbiased variance over n*H*W - 1
};

class BatchNorm2d : public torch::nn::Module {
 public:
  static constexpr double momentum = 0.1, epsilon = batch_norm_epsilon;

  explicit BatchNorm2d(std::int64_t channels);

  // (n, C, H, W) -> the same shape. Training mode normalises with the batch's own statistics and, without a recorder,
  // updates the running ones at once. Otherwise it normalises with the running statistics.
  at::Tensor forward(const at::Tensor& x) { return forward(x, {}, false, {}); }
  // key.apply(relu(forward(x) + residual)), in one operator.
  at::Tensor forward_relu(const at::Tensor& x, const at::Tensor& residual = {}, const KeyedPoint& key = {}) {
    return forward(x, residual, true, key);
  }

  // Treats each following training batch as `groups` passes of equally many rows, one after the other. Each is
  // normalised with its own statistics and counts as a separate pass.
  void set_groups(std::int64_t groups) { groups_ = groups; }

  std::int64_t channels() const { return weight.numel(); }

  // Adds the buffers running_mean_deny and running_var_deny, which no forward pass reads.
  void keep_deny_statistics();

  // Training passes give their statistics to `recorder` instead of updating the running ones. nullptr ends that.
  using Recorder = std::function<void(const BatchStatistics&)>;
  void record_with(Recorder recorder) { recorder_ = std::move(recorder); }

  // Makes training passes normalise over the batches of all ranks. `sum` turns a contiguous float64 tensor into its sum
  // over the ranks, in place. Every rank must make the same passes, forward and backward. The gradients of weight and
  // bias are this rank's share of the whole, like all others.
  using SumOverRanks = std::function<void(at::Tensor&)>;
  void synchronise_with(SumOverRanks sum) { sum_over_ranks_ = std::move(sum); }

  at::Tensor weight, bias;                         // (C) parameters
  at::Tensor running_mean, running_var;            // (C) buffers
  at::Tensor running_mean_deny, running_var_deny;  // (C) buffers, undefined without keep_deny_statistics()

 private:
  at::Tensor forward(const at::Tensor& x, const at::Tensor& residual, bool relu, const KeyedPoint& key);
  NormalisedBatch train(const at::Tensor& x, const at::Tensor& residual, bool relu, const KeyedPoint& key) const;

  std::int64_t groups_ = 1;
  Recorder recorder_;
  SumOverRanks sum_over_ranks_;
};

// Sets running = (1 - momentum) * running + momentum * values, for each pair of the lists.
void average_in(const std::vector<at::Tensor>& running, const std::vector<at::Tensor>& values);

// All BatchNorm2d layers of a network, in order of registration.
std::vector<std::shared_ptr<BatchNorm2d>> batch_norms(torch::nn::Module& network);

}  // namespace spankey
