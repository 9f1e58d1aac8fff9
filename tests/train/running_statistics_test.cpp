// What shards measure becomes one update of the running statistics a pass; ranks that normalise together are one
// process with the whole batch.
#include "train/running_statistics.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/utils.h>

#include <thread>

#include "dist/rank_threads.h"
#include "spankey/models/registry.h"

namespace spankey::running_statistics_test {
namespace {

std::shared_ptr<Model> small_resnet(bool deny_statistics = false) {
  at::set_num_threads(1);
  auto model = make_model("small_resnet", {.sample_shape = {1, 28, 28}, .deny_statistics = deny_statistics});
  initialise(*model, 7);
  return model;
}

at::Tensor images(std::int64_t n, std::uint64_t seed) {
  at::manual_seed(seed);
  return at::randn({n, 1, 28, 28}) + 0.1 * static_cast<double>(seed);
}

// Mean and unbiased variance of the first convolution's output: what the first BatchNorm measures.
BatchStatistics first_layer(const Model& model, const at::Tensor& x) {
  const torch::NoGradGuard no_grad;
  const auto h = at::conv2d(x.to(at::kDouble), model.named_parameters()["stem.0.weight"].to(at::kDouble), {}, 1, 1);
  return {h.mean({0, 2, 3}), h.var({0, 2, 3}, /*unbiased=*/true)};
}

void expect_near(const at::Tensor& actual, const at::Tensor& expected) {
  EXPECT_TRUE(at::allclose(actual.to(at::kDouble), expected, 1e-4, 1e-5)) << actual << expected;
}

// A step of two shards, 6 and 2 samples, with the passes correct, none and wrong on other images each.
TEST(RunningStatistics, PoliciesTakeTheWeightedMeanOfTheShardsInOrder) {
  constexpr TrainPass passes[] = {TrainPass::correct, TrainPass::none, TrainPass::wrong};
  for (const auto policy : {BatchNorm::polluted, BatchNorm::freeze_deny, BatchNorm::split, BatchNorm::recalibrate_ok}) {
    SCOPED_TRACE(to_string(policy));
    const auto model = small_resnet(policy == BatchNorm::split);
    at::Tensor mean = at::zeros({32}, at::kDouble), var = at::ones({32}, at::kDouble);
    at::Tensor deny_mean = mean.clone(), deny_var = var.clone();
    {
      RunningStatistics statistics(*model, policy, /*denied=*/true, nullptr);
      at::Tensor sums = at::zeros({statistics.slots()}, at::kDouble);
      std::vector<BatchStatistics> expected;
      for (std::size_t p = 0; p < 3; ++p)
        expected.push_back({at::zeros({32}, at::kDouble), at::zeros({32}, at::kDouble)});
      for (const std::int64_t n : {6, 2}) {
        at::Tensor slots = at::zeros_like(sums);
        const double weight = static_cast<double>(n) / 8;
        statistics.begin_shard(slots, weight);
        for (const TrainPass pass : passes) {
          const auto p = static_cast<std::size_t>(pass);
          const at::Tensor x = images(n, 10 * p + static_cast<std::uint64_t>(n));
          statistics.begin_pass(pass);
          model->forward(x, Injection::none());
          const auto measured = first_layer(*model, x);
          expected[p].mean += weight * measured.mean;
          expected[p].variance += weight * measured.variance;
        }
        sums += slots;
      }
      EXPECT_TRUE(model->buffers()[0].eq(0).all().item<bool>());
      statistics.update(sums, {std::begin(passes), std::end(passes)});
      for (std::size_t p = 0; p < 3; ++p) {
        if (p > 0 && policy == BatchNorm::freeze_deny) continue;
        const bool own = p > 0 && policy == BatchNorm::split;
        (own ? deny_mean : mean).mul_(0.9).add_(expected[p].mean, 0.1);
        (own ? deny_var : var).mul_(0.9).add_(expected[p].variance, 0.1);
      }
    }
    const auto buffers = model->named_buffers();
    expect_near(buffers["stem.1.running_mean"], mean);
    expect_near(buffers["stem.1.running_var"], var);
    if (policy == BatchNorm::split) {
      expect_near(buffers["stem.1.running_mean_deny"], deny_mean);
      expect_near(buffers["stem.1.running_var_deny"], deny_var);
    }
    // On its own again, a layer updates at once.
    model->forward(images(3, 1), Injection::none());
    EXPECT_FALSE(at::allclose(model->named_buffers()["stem.1.running_mean"].to(at::kDouble), mean, 1e-6, 1e-7));
  }
}

TEST(RunningStatistics, PassesThatWereNotTakenChangeNothing) {
  const auto model = small_resnet();
  RunningStatistics statistics(*model, BatchNorm::polluted, /*denied=*/true, nullptr);
  at::Tensor sums = at::zeros({statistics.slots()}, at::kDouble);
  statistics.begin_shard(sums, 1.0);
  statistics.begin_pass(TrainPass::correct);
  const at::Tensor x = images(4, 3);
  model->forward(x, Injection::none());
  statistics.update(sums, {TrainPass::correct});
  expect_near(model->named_buffers()["stem.1.running_mean"], 0.1 * first_layer(*model, x).mean);
  statistics.replace(sums);
  expect_near(model->named_buffers()["stem.1.running_mean"], first_layer(*model, x).mean);
}

TEST(RunningStatistics, NetworksWithoutBatchNormHaveNone) {
  const auto model = make_model("mlp", {.sample_shape = {20}});
  RunningStatistics statistics(*model, BatchNorm::split, true, nullptr);
  EXPECT_EQ(statistics.slots(), 0);
  statistics.begin_shard(at::Tensor(), 1.0);
  statistics.begin_pass(TrainPass::wrong);
  statistics.update(at::Tensor(), {TrainPass::wrong});
}

// Logits and gradients of all parameters of one step with the passes given, then the updated buffers: as one batch or
// one after the other, in float64.
std::vector<at::Tensor> step_of_passes(const std::string& name, BatchNorm policy, const std::vector<TrainPass>& passes,
                                       const std::vector<at::Tensor>& images, bool stacked) {
  const auto shape = images[0].sizes().slice(1).vec();
  const auto model = make_model(name, {.sample_shape = shape, .deny_statistics = policy == BatchNorm::split});
  initialise(*model, 7);
  model->to(at::kDouble);
  RunningStatistics statistics(*model, policy, /*denied=*/true, nullptr);
  at::Tensor sums = at::zeros({statistics.slots()}, at::kDouble);
  statistics.begin_shard(sums, 1.0);
  at::Tensor logits;
  if (stacked) {
    statistics.begin_passes(passes);
    logits = model->forward(at::cat(images), Injection::none()).logits;
  } else {
    std::vector<at::Tensor> parts;
    for (std::size_t i = 0; i < passes.size(); ++i) {
      statistics.begin_pass(passes[i]);
      parts.push_back(model->forward(images[i], Injection::none()).logits);
    }
    logits = at::cat(parts);
  }
  logits.square().sum().backward();
  statistics.update(sums, passes);
  std::vector<at::Tensor> result{logits.detach()};
  for (const at::Tensor& p : model->parameters()) result.push_back(p.grad());
  for (const at::Tensor& buffer : model->buffers()) result.push_back(buffer);
  return result;
}

double largest_difference(const std::vector<at::Tensor>& a, const std::vector<at::Tensor>& b) {
  EXPECT_EQ(a.size(), b.size());
  double largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double scale = std::max(1e-6, b[i].abs().max().item<double>());
    largest = std::max(largest, (a[i] - b[i]).abs().max().item<double>() / scale);
  }
  return largest;
}

TEST(RunningStatistics, StackedPassesAreThePassesOneAfterTheOther) {
  using enum TrainPass;
  at::set_num_threads(1);
  at::manual_seed(5);
  for (const auto& [name, shape] : {std::pair{"small_resnet", std::vector<std::int64_t>{2, 1, 28, 28}},
                                    std::pair{"resnet18", std::vector<std::int64_t>{2, 3, 32, 32}}}) {
    std::vector<at::Tensor> images;
    for (int i = 0; i < 3; ++i) images.push_back(at::randn(shape, at::kDouble) * (1 + i) + i);
    for (const auto policy :
         {BatchNorm::polluted, BatchNorm::freeze_deny, BatchNorm::split, BatchNorm::recalibrate_ok}) {
      SCOPED_TRACE(std::string(name) + " " + std::string(to_string(policy)));
      const auto apart = step_of_passes(name, policy, {correct, none, wrong}, images, false);
      EXPECT_LT(largest_difference(step_of_passes(name, policy, {correct, none, wrong}, images, true), apart), 1e-6);
      if (policy != BatchNorm::split || images[0].size(1) != 1) continue;
      // The negative control: the same batch in another order updates otherwise.
      const std::vector<at::Tensor> turned{images[2], images[1], images[0]};
      EXPECT_GT(largest_difference(step_of_passes(name, policy, {correct, none, wrong}, turned, true), apart), 1e-2);
      const std::vector<at::Tensor> two{images[0], images[2]};
      EXPECT_LT(largest_difference(step_of_passes(name, BatchNorm::split, {correct, wrong}, two, true),
                                   step_of_passes(name, BatchNorm::split, {correct, wrong}, two, false)),
                1e-6);
    }
  }
}

// Output, gradient of the input, summed gradients of all parameters and the updated buffers of one step on `x`, cut
// into blocks for `ranks` ranks.
std::vector<at::Tensor> step_on_ranks(int ranks, const at::Tensor& x, const at::Tensor& upstream, bool synchronised) {
  const std::int64_t rows = x.size(0) / ranks;
  std::vector<std::vector<at::Tensor>> parts(static_cast<std::size_t>(ranks));
  test::run_ranks(ranks, [&](Communicator& communicator) {
    const auto model = small_resnet();
    model->to(at::kDouble);
    RunningStatistics statistics(*model, BatchNorm::polluted, false, synchronised ? &communicator : nullptr);
    at::Tensor sums = at::zeros({statistics.slots()}, at::kDouble);
    statistics.begin_shard(sums, 1.0 / ranks);
    statistics.begin_pass(TrainPass::correct);
    const at::Tensor mine = x.narrow(0, communicator.rank() * rows, rows).clone().requires_grad_();
    const at::Tensor logits = model->forward(mine, Injection::none()).logits;
    (logits * upstream.narrow(0, communicator.rank() * rows, rows)).sum().backward();
    communicator.all_reduce(sums);
    statistics.update(sums, {TrainPass::correct});
    auto& part = parts[static_cast<std::size_t>(communicator.rank())];
    part = {logits.detach(), mine.grad()};
    for (at::Tensor& p : model->parameters()) {
      at::Tensor gradient = p.grad().contiguous();
      communicator.all_reduce(gradient);
      part.push_back(gradient);
    }
    for (const at::Tensor& buffer : model->buffers()) part.push_back(buffer);
  });
  std::vector<at::Tensor> result = parts[0];
  for (const std::size_t i : {0, 1}) {
    std::vector<at::Tensor> blocks;
    for (const auto& part : parts) blocks.push_back(part[i]);
    result[i] = at::cat(blocks);
  }
  return result;
}

double largest_relative_difference(const std::vector<at::Tensor>& a, const std::vector<at::Tensor>& b) {
  EXPECT_EQ(a.size(), b.size());
  double largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    largest = std::max(largest, ((a[i] - b[i]).abs().max() / b[i].abs().max()).item<double>());
  return largest;
}

TEST(SyncBatchNorm, RanksAreOneProcessOnTheGlobalBatch) {
  const at::Tensor x = images(8, 2).to(at::kDouble), upstream = at::randn({8, 10}, at::kDouble);
  const auto whole = step_on_ranks(1, x, upstream, false);
  for (const int ranks : {1, 2, 4})
    EXPECT_LT(largest_relative_difference(step_on_ranks(ranks, x, upstream, true), whole), 1e-6) << ranks;
  // The negative control: each on its own.
  EXPECT_GT(largest_relative_difference(step_on_ranks(2, x, upstream, false), whole), 1e-2);
}

}  // namespace
}  // namespace spankey::running_statistics_test
