#include "spankey/batch_norm.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include "spankey/model.h"

namespace spankey {
namespace {

// Mean and unbiased variance of channel c, in plain loops.
std::pair<double, double> moments(const at::Tensor& x, std::int64_t c) {
  const at::Tensor values = x.select(1, c).contiguous().view({-1}).to(at::kDouble);
  const auto n = values.numel();
  double mean = 0, squares = 0;
  for (std::int64_t i = 0; i < n; ++i) mean += values[i].item<double>() / static_cast<double>(n);
  for (std::int64_t i = 0; i < n; ++i) squares += std::pow(values[i].item<double>() - mean, 2);
  return {mean, squares / static_cast<double>(n - 1)};
}

at::Tensor batch() {
  at::manual_seed(1);
  return 2 * at::randn({4, 3, 5, 6}, at::kDouble) + 7;
}

TEST(BatchNorm2d, normalises_and_averages_as_the_definition_says) {
  const at::Tensor x = batch();
  BatchNorm2d layer(3);
  layer.to(at::kDouble);
  {
    const at::NoGradGuard no_grad;
    layer.weight.copy_(at::arange(3) + 1);
    layer.bias.copy_(at::arange(3));
    layer.running_mean.fill_(-1);
    layer.running_var.fill_(5);
  }
  const at::Tensor y = layer.forward(x);
  const double n = 4 * 5 * 6;
  for (std::int64_t c = 0; c < 3; ++c) {
    const auto [mean, variance] = moments(x, c);
    const double scale = static_cast<double>(c + 1) / std::sqrt(variance * (n - 1) / n + 1e-5);
    EXPECT_NEAR(y[2][c][3][1].item<double>(), (x[2][c][3][1].item<double>() - mean) * scale + static_cast<double>(c),
                1e-12);
    EXPECT_NEAR(layer.running_mean[c].item<double>(), 0.9 * -1 + 0.1 * mean, 1e-12);
    EXPECT_NEAR(layer.running_var[c].item<double>(), 0.9 * 5 + 0.1 * variance, 1e-12);
  }
  layer.eval();
  const at::Tensor before = layer.running_mean.clone(), evaluated = layer.forward(x);
  EXPECT_TRUE(layer.running_mean.equal(before));
  EXPECT_NEAR(
      evaluated[1][0][0][0].item<double>(),
      (x[1][0][0][0] - layer.running_mean[0]).item<double>() / std::sqrt(layer.running_var[0].item<double>() + 1e-5),
      1e-12);
}

TEST(BatchNorm2d, a_recorder_gets_the_statistics_and_the_running_ones_wait) {
  const at::Tensor x = batch();
  BatchNorm2d layer(3);
  layer.to(at::kDouble);
  std::vector<BatchStatistics> recorded;
  layer.record_with([&](const BatchStatistics& statistics) { recorded.push_back(statistics); });
  layer.forward(x);
  ASSERT_EQ(recorded.size(), 1U);
  EXPECT_TRUE(layer.running_mean.eq(0).all().item<bool>());
  EXPECT_NEAR(recorded[0].variance[1].item<double>(), moments(x, 1).second, 1e-12);
  layer.update(recorded[0]);
  EXPECT_NEAR(layer.running_mean[1].item<double>(), 0.1 * moments(x, 1).first, 1e-12);
  layer.replace(recorded[0]);
  EXPECT_NEAR(layer.running_mean[1].item<double>(), moments(x, 1).first, 1e-12);
  layer.record_with(nullptr);
  layer.forward(x);
  EXPECT_EQ(recorded.size(), 1U);
}

TEST(BatchNorm2d, denied_passes_have_a_set_of_their_own_only_where_asked_for) {
  ModelOptions options{.sample_shape = {1, 28, 28}};
  EXPECT_EQ(make_model("small_resnet", options)->named_buffers().size(), 30U);
  options.deny_statistics = true;
  const auto model = make_model("small_resnet", options);
  EXPECT_EQ(model->named_buffers().size(), 60U);
  const auto layer = batch_norms(*model).front();
  EXPECT_TRUE(model->named_buffers()["stem.1.running_mean_deny"].is_same(layer->running_mean_deny));
  layer->update_deny({at::ones({32}), at::full({32}, 3)});
  EXPECT_NEAR(layer->running_mean_deny[5].item<double>(), 0.1, 1e-6);
  EXPECT_NEAR(layer->running_var_deny[5].item<double>(), 0.9 + 0.3, 1e-6);
  EXPECT_TRUE(layer->running_mean.eq(0).all().item<bool>());
  EXPECT_TRUE(layer->running_var.eq(1).all().item<bool>());
}

// The layer that sums over ranks, with a sum over one rank, is the ordinary one; its gradients too.
TEST(BatchNorm2d, synchronised_over_one_rank_changes_nothing) {
  const at::Tensor upstream = at::randn({4, 3, 5, 6}, at::kDouble);
  std::vector<std::vector<at::Tensor>> results;
  for (const bool synchronised : {false, true}) {
    BatchNorm2d layer(3);
    layer.to(at::kDouble);
    if (synchronised) layer.synchronise_with([](at::Tensor&) {});
    const at::Tensor x = batch().requires_grad_();
    const at::Tensor y = layer.forward(x);
    auto result = torch::autograd::grad({y}, {x, layer.weight, layer.bias}, {upstream});
    result.insert(result.end(), {y, layer.running_mean, layer.running_var});
    results.push_back(result);
  }
  for (std::size_t i = 0; i < results[0].size(); ++i)
    EXPECT_TRUE(at::allclose(results[0][i], results[1][i], 1e-10, 1e-10)) << i;
}

}  // namespace
}  // namespace spankey
