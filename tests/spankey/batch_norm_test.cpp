#include "spankey/batch_norm.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include "spankey/batch_norm_body.h"
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
  EXPECT_NEAR(recorded[0].variance[0][1].item<double>(), moments(x, 1).second, 1e-12);
  average_in({layer.running_mean}, {recorded[0].mean[0]});
  EXPECT_NEAR(layer.running_mean[1].item<double>(), 0.1 * moments(x, 1).first, 1e-12);
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
  EXPECT_EQ(layer->running_mean_deny.numel(), 32);
  EXPECT_TRUE(layer->running_var_deny.eq(1).all().item<bool>());
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

// What the networks computed before there was an operator: LibTorch's own batch norm, sum and ReLU, with its gradients.
std::vector<at::Tensor> composed(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                                 const at::Tensor& residual, const at::Tensor& upstream) {
  at::Tensor y = at::batch_norm(x, weight, bias, {}, {}, true, 0.1, 1e-5, false);
  if (residual.defined()) y = y + residual;
  y = y.relu();
  std::vector<at::Tensor> leaves{x, weight, bias};
  if (residual.defined()) leaves.push_back(residual);
  auto result = torch::autograd::grad({y}, leaves, {upstream});
  result.push_back(y);
  return result;
}

std::vector<at::Tensor> operated(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                                 const at::Tensor& residual, const at::Tensor& upstream, std::int64_t groups) {
  const auto batch = batch_norm_act(x, weight, bias, residual, groups, true);
  std::vector<at::Tensor> leaves{x, weight, bias};
  if (residual.defined()) leaves.push_back(residual);
  auto result = torch::autograd::grad({batch.y}, leaves, {upstream});
  result.push_back(batch.y);
  return result;
}

TEST(BatchNormAct, one_group_has_the_bits_of_the_composition) {
  at::manual_seed(3);
  const auto draw = [](at::IntArrayRef shape) {
    return (2 * at::randn(shape) + 1).contiguous(at::MemoryFormat::ChannelsLast).requires_grad_();
  };
  const at::Tensor x = draw({6, 16, 5, 7}), residual = draw({6, 16, 5, 7});
  const at::Tensor upstream = at::randn({6, 16, 5, 7}).contiguous(at::MemoryFormat::ChannelsLast);
  const at::Tensor weight = at::randn({16}).requires_grad_(), bias = at::randn({16}).requires_grad_();
  for (const at::Tensor& added : {residual, at::Tensor()}) {
    const auto expected = composed(x, weight, bias, added, upstream);
    const auto actual = operated(x, weight, bias, added, upstream, 1);
    for (std::size_t i = 0; i < expected.size(); ++i) EXPECT_TRUE(actual[i].equal(expected[i])) << i;
    // The negative control: two groups are another function.
    EXPECT_FALSE(at::allclose(operated(x, weight, bias, added, upstream, 2).back(), expected.back(), 1e-3, 1e-3));
  }
}

// The device kernels' arithmetic on the host: one channel, values shared out over threads as a block does it.
batch_norm::Moments moments_of(const std::vector<float>& values, std::size_t lines) {
  batch_norm::Moments all;
  for (std::size_t line = 0; line < lines; ++line) {
    batch_norm::ShiftedSums sums;
    std::int64_t count = 0;
    for (std::size_t i = line; i < values.size(); i += lines, ++count) sums.add(values[i], count == 0);
    all = batch_norm::merge(all, sums.moments(count));
  }
  return all;
}

TEST(BatchNormBody, statistics_keep_their_digits_far_from_zero) {
  at::manual_seed(6);
  const at::Tensor x = (at::randn({1003}, at::kDouble) + 3000).to(at::kFloat);
  const std::vector<float> values(x.const_data_ptr<float>(), x.const_data_ptr<float>() + x.numel());
  const at::Tensor wide = x.to(at::kDouble);
  for (const std::size_t lines : {1U, 7U, 2000U}) {
    const auto m = moments_of(values, lines);
    EXPECT_EQ(m.count, 1003);
    EXPECT_NEAR(m.mean, wide.mean().item<double>(), 1e-6);
    EXPECT_NEAR(batch_norm::unbiased_variance(m), wide.var().item<double>(), 1e-5);
    EXPECT_NEAR(batch_norm::inverse_deviation(m, 1e-5), 1 / std::sqrt(wide.var(0, false).item<double>() + 1e-5), 1e-6);
  }
  // The negative control: the difference of mean square and squared mean in float32 has no digit left.
  const float difference = (x.square().mean() - x.mean().square()).item<float>();
  EXPECT_GT(std::abs(static_cast<double>(difference) - wide.var().item<double>()), 1e-2);
}

// Forward and backward of one channel by the body alone: y, then the gradients of x, of the residual, weight and bias.
std::vector<at::Tensor> by_body(const at::Tensor& x, const at::Tensor& residual, float weight, float bias,
                                const at::Tensor& upstream, bool relu) {
  const std::int64_t n = x.numel();
  const auto value = [](const at::Tensor& t, std::int64_t i) { return t.const_data_ptr<float>()[i]; };
  const auto m = moments_of({x.const_data_ptr<float>(), x.const_data_ptr<float>() + n}, 5);
  const auto mean = static_cast<float>(m.mean);
  const float inverse = batch_norm::inverse_deviation(m, batch_norm_epsilon), scale = weight * inverse;
  at::Tensor y = at::empty({n}), of_x = at::empty({n}), of_residual = at::empty({n});
  double sum = 0, product = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    const float result = batch_norm::apply(value(x, i), mean, scale, bias, value(residual, i), relu);
    const float g = batch_norm::before_relu(value(upstream, i), result, relu);
    y.mutable_data_ptr<float>()[i] = result;
    of_residual.mutable_data_ptr<float>()[i] = g;
    sum += g;
    product += g * ((value(x, i) - mean) * inverse);
  }
  const auto count = static_cast<double>(n);
  for (std::int64_t i = 0; i < n; ++i)
    of_x.mutable_data_ptr<float>()[i] =
        batch_norm::input_gradient(value(of_residual, i), value(x, i), mean, inverse, scale,
                                   static_cast<float>(sum / count), static_cast<float>(product / count));
  return {y, of_x, of_residual, at::full({1}, product), at::full({1}, sum)};
}

TEST(BatchNormBody, forward_and_backward_are_the_compositions) {
  at::manual_seed(7);
  const at::Tensor x = 2 * at::randn({97}) + 1, residual = at::randn({97}), upstream = at::randn({97});
  for (const bool relu : {true, false}) {
    const auto wide = [](const at::Tensor& t) { return t.to(at::kDouble).view({97, 1, 1, 1}).requires_grad_(); };
    const at::Tensor wide_x = wide(x), wide_residual = wide(residual);
    const at::Tensor weight = at::full({1}, 1.5, at::kDouble).requires_grad_();
    const at::Tensor bias = at::full({1}, -0.25, at::kDouble).requires_grad_();
    at::Tensor y = at::batch_norm(wide_x, weight, bias, {}, {}, true, 0.1, 1e-5, false) + wide_residual;
    if (relu) y = y.relu();
    auto expected =
        torch::autograd::grad({y}, {wide_x, wide_residual, weight, bias}, {upstream.to(at::kDouble).view_as(y)});
    expected.insert(expected.begin(), y.detach());
    const auto actual = by_body(x, residual, 1.5F, -0.25F, upstream, relu);
    for (std::size_t i = 0; i < actual.size(); ++i)
      EXPECT_TRUE(at::allclose(actual[i].to(at::kDouble), expected[i].flatten(), 1e-5, 1e-5)) << i;
  }
}

// The operator's gradient against finite differences of its own result.
TEST(BatchNormAct, gradients_are_finite_differences) {
  at::manual_seed(8);
  const auto draw = [](at::IntArrayRef shape) { return at::randn(shape, at::kDouble); };
  const at::Tensor x = draw({4, 2, 2, 3}), residual = draw({4, 2, 2, 3}), upstream = draw({4, 2, 2, 3});
  const at::Tensor weight = draw({2}), bias = draw({2});
  std::vector<at::Tensor> leaves{x, weight, bias, residual};
  const auto loss = [&] {
    return (batch_norm_act(leaves[0], leaves[1], leaves[2], leaves[3], 2, true).y * upstream).sum();
  };
  for (at::Tensor& leaf : leaves) leaf.requires_grad_();
  const auto gradients = torch::autograd::grad({loss()}, leaves);
  const at::NoGradGuard no_grad;
  for (std::size_t k = 0; k < leaves.size(); ++k) {
    at::Tensor flat = leaves[k].view({-1});
    for (std::int64_t i = 0; i < flat.numel(); ++i) {
      constexpr double h = 1e-6;
      flat[i] += h;
      const double up = loss().item<double>();
      flat[i] -= 2 * h;
      const double down = loss().item<double>();
      flat[i] += h;
      EXPECT_NEAR(gradients[k].view({-1})[i].item<double>(), (up - down) / (2 * h), 1e-6) << k << " " << i;
    }
  }
}

TEST(BatchNormAct, groups_are_batches_of_their_own) {
  at::manual_seed(4);
  const auto options = at::TensorOptions(at::kDouble);
  const at::Tensor x = at::cat({at::randn({3, 4, 5, 2}, options), 3 * at::randn({3, 4, 5, 2}, options) + 2});
  const at::Tensor residual = at::randn({6, 4, 5, 2}, options), upstream = at::randn({6, 4, 5, 2}, options);
  const at::Tensor weight = at::randn({4}, options).requires_grad_(), bias = at::randn({4}, options).requires_grad_();
  const auto leaf = [](const at::Tensor& t) { return t.detach().clone().requires_grad_(); };
  const auto together = operated(leaf(x), weight, bias, leaf(residual), upstream, 2);
  std::vector<std::vector<at::Tensor>> apart;
  for (const std::int64_t first : {0, 3})
    apart.push_back(composed(leaf(x.narrow(0, first, 3)), weight, bias, leaf(residual.narrow(0, first, 3)),
                             upstream.narrow(0, first, 3)));
  for (const std::size_t i : {0, 3, 4})
    EXPECT_TRUE(at::allclose(together[i], at::cat({apart[0][i], apart[1][i]}), 1e-12, 1e-12)) << i;
  for (const std::size_t i : {1, 2})
    EXPECT_TRUE(at::allclose(together[i], apart[0][i] + apart[1][i], 1e-12, 1e-12)) << i;
  const auto batch = batch_norm_act(x, weight, bias, {}, 2, false);
  EXPECT_TRUE(at::allclose(batch.mean[1], x.narrow(0, 3, 3).mean({0, 2, 3}), 1e-12, 1e-12));
  EXPECT_TRUE(at::allclose(batch.variance[1], x.narrow(0, 3, 3).var({0, 2, 3}, true), 1e-12, 1e-12));
}

TEST(BatchNormAct, synchronised_groups_are_those_of_the_operator) {
  const at::Tensor upstream = at::randn({4, 3, 5, 6}, at::kDouble), residual = at::randn({4, 3, 5, 6}, at::kDouble);
  std::vector<std::vector<at::Tensor>> results;
  for (const bool synchronised : {false, true}) {
    BatchNorm2d layer(3);
    layer.to(at::kDouble);
    layer.set_groups(2);
    if (synchronised) layer.synchronise_with([](at::Tensor&) {});
    const at::Tensor x = batch().requires_grad_();
    const at::Tensor y = layer.forward_relu(x, residual);
    auto result = torch::autograd::grad({y}, {x, layer.weight, layer.bias}, {upstream});
    result.insert(result.end(), {y, layer.running_mean, layer.running_var});
    results.push_back(result);
  }
  for (std::size_t i = 0; i < results[0].size(); ++i)
    EXPECT_TRUE(at::allclose(results[0][i], results[1][i], 1e-10, 1e-10)) << i;
}

}  // namespace
}  // namespace spankey
