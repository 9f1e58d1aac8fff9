// One training step of a small network on given shards: what reducer tests on threads and under MPI have in common.
#pragma once

#include <ATen/ATen.h>
#include <torch/nn/module.h>
#include <torch/nn/modules/linear.h>
#include <torch/utils.h>

#include <cmath>

#include "base/digest.h"
#include "dist/reducer.h"

namespace spankey::test {

struct ToyNet : torch::nn::Module {
  ToyNet() {
    first = register_module("first", torch::nn::Linear(20, 48));
    unused = register_module("unused", torch::nn::Linear(48, 48));
    second = register_module("second", torch::nn::Linear(48, 5));
    const torch::NoGradGuard no_grad;
    double i = 0;
    for (auto& parameter : parameters()) {
      auto values = parameter.view({-1});
      for (std::int64_t k = 0; k < values.numel(); ++k) values[k] = 0.3 * std::sin(0.37 * ++i);
    }
  }
  at::Tensor loss(const at::Tensor& x) {
    return (second(at::tanh(first(x.narrow(1, 0, 20)))).square().sum(1) * x.select(1, 20)).sum();
  }

  torch::nn::Linear first{nullptr}, unused{nullptr}, second{nullptr};
};

// (samples, 20) inputs; the last column is the weight of the sample in the loss. Weights span six orders of magnitude,
// so that the order of a float32 sum shows in its bits.
inline at::Tensor toy_data(std::int64_t samples) {
  auto x = at::empty({samples, 21});
  for (std::int64_t i = 0; i < samples; ++i) {
    for (std::int64_t j = 0; j < 20; ++j)
      x[i][j] = std::cos(1.3 * static_cast<double>(i) + 0.7 * static_cast<double>(j));
    x[i][20] = std::pow(10.0, static_cast<double>((i * 5) % 7 - 3));
  }
  return x;
}

struct ToyResult {
  std::vector<std::pair<std::string, at::Tensor>> gradients;  // by name
  at::Tensor extras;                                          // samples, loss
  std::string sha256;                                         // of all bits above
};

// The step in float64 and in one piece: the reference for every sum.
inline ToyResult toy_reference(std::int64_t samples) {
  ToyNet net;
  net.to(at::kDouble);
  auto loss = net.loss(toy_data(samples).to(at::kDouble));
  loss.backward();
  ToyResult result;
  for (const auto& item : net.named_parameters())
    result.gradients.emplace_back(item.key(), item->grad().defined() ? item->grad() : at::zeros_like(item.value()));
  result.extras = at::stack({at::scalar_tensor(samples, at::kDouble), loss.detach()});
  return result;
}

// `options.shards` shards over the ranks, the first samples % shards of them with one sample more; some may be empty.
// `steps` > 1 repeats the same step with the same reducer. Without `send_extras` the extras leave at the end.
inline ToyResult toy_step(Communicator& communicator, ReducerOptions options, std::int64_t samples, int steps = 1,
                          bool send_extras = true) {
  ToyNet net;
  std::vector<std::pair<std::string, at::Tensor>> named;
  for (const auto& item : net.named_parameters()) named.emplace_back(item.key(), item.value());
  FlatParameters flat(named);
  options.extra = 2;
  Reducer reducer(flat, communicator, options);
  const auto x = toy_data(samples);
  const auto begin_of = [&](std::int64_t shard) {
    return shard * (samples / options.shards) + std::min(shard, samples % options.shards);
  };
  const std::int64_t first = options.shards * communicator.rank() / communicator.size();
  const std::int64_t end = options.shards * (communicator.rank() + 1) / communicator.size();
  for (int step = 0; step < steps; ++step) {
    for (std::int64_t shard = first; shard < end; ++shard) {
      const auto count = begin_of(shard + 1) - begin_of(shard);
      reducer.begin_shard(shard + 1 == end);
      if (count > 0) {
        auto loss = net.loss(x.narrow(0, begin_of(shard), count));
        reducer.extras()[0] = count;
        reducer.extras()[1] = loss.item<double>();
        if (send_extras) reducer.send_extras();
        loss.backward();
      } else if (send_extras) {
        reducer.send_extras();
      }
      reducer.end_shard();
    }
    reducer.finish();
  }
  ToyResult result;
  Sha256 hash;
  for (const auto& [name, parameter] : named) {
    result.gradients.emplace_back(name, parameter.grad().clone());
    hash.update({static_cast<const std::byte*>(parameter.grad().const_data_ptr()), parameter.grad().nbytes()});
  }
  result.extras = reducer.extras().clone();
  hash.update({static_cast<const std::byte*>(result.extras.const_data_ptr()), result.extras.nbytes()});
  result.sha256 = to_hex(hash.finish());
  return result;
}

// Relative to the largest element of each gradient; float32 sums of a few dozen terms.
inline void expect_close(const ToyResult& result, const ToyResult& reference) {
  for (std::size_t i = 0; i < result.gradients.size(); ++i) {
    const auto& expected = reference.gradients[i].second;
    const double scale = std::max(expected.abs().max().item<double>(), 1e-30);
    EXPECT_LT((result.gradients[i].second - expected).abs().max().item<double>() / scale, 2e-6)
        << result.gradients[i].first;
  }
  EXPECT_EQ(result.extras[0].item<double>(), reference.extras[0].item<double>());
  EXPECT_NEAR(result.extras[1].item<double>() / reference.extras[1].item<double>(), 1, 1e-6);
}

}  // namespace spankey::test
