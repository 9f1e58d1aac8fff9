#include "spankey/models/batch_norm.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/library.h>

#include <algorithm>
#include <optional>
#include <tuple>

#include "spankey/models/model.h"
#include "spankey/models/registry.h"
#include "spankey/ops/batch_norm_body.h"
#include "spankey/ops/inject_parts.h"

namespace spankey::batch_norm_test {
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

TEST(BatchNorm2d, NormalisesAndAveragesAsTheDefinitionSays) {
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

TEST(BatchNorm2d, ARecorderGetsTheStatisticsAndTheRunningOnesWait) {
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

TEST(BatchNorm2d, DeniedPassesHaveASetOfTheirOwnOnlyWhereAskedFor) {
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
TEST(BatchNorm2d, SynchronisedOverOneRankChangesNothing) {
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

TEST(BatchNormAct, OneGroupHasTheBitsOfTheComposition) {
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

// The device kernels' arithmetic on the host: one channel, values shared out over threads as a block does it, whose
// sums are added as differences from `origin`.
batch_norm::Moments moments_of(const std::vector<float>& values, std::size_t lines, float origin) {
  batch_norm::Differences all;
  for (std::size_t line = 0; line < std::min(lines, values.size()); ++line) {
    batch_norm::ShiftedSums sums{.shift = values[line]};
    std::int64_t count = 0;
    for (std::size_t i = line; i < values.size(); i += lines, ++count) sums.add(values[i]);
    const auto own = sums.from(origin, count);
    all = {all.sum + own.sum, all.squares + own.squares};
  }
  return all.moments(origin, static_cast<double>(values.size()));
}

TEST(BatchNormBody, StatisticsKeepTheirDigitsFarFromZero) {
  at::manual_seed(6);
  const at::Tensor x = (at::randn({1003}, at::kDouble) + 3000).to(at::kFloat);
  const std::vector<float> values(x.const_data_ptr<float>(), x.const_data_ptr<float>() + x.numel());
  const at::Tensor wide = x.to(at::kDouble);
  for (const std::size_t lines : {1U, 7U, 2000U}) {
    for (const float origin : {values[0], 0.0F}) {
      const auto m = moments_of(values, lines, origin);
      EXPECT_EQ(m.count, 1003);
      EXPECT_NEAR(m.mean, wide.mean().item<double>(), 1e-6);
      EXPECT_NEAR(batch_norm::unbiased_variance(m), wide.var().item<double>(), 1e-5);
      EXPECT_NEAR(batch_norm::inverse_deviation(m, 1e-5), 1 / std::sqrt(wide.var(0, false).item<double>() + 1e-5),
                  1e-6);
    }
  }
  // The negative control: the difference of mean square and squared mean in float32 has no digit left.
  const float difference = (x.square().mean() - x.mean().square()).item<float>();
  EXPECT_GT(std::abs(static_cast<double>(difference) - wide.var().item<double>()), 1e-2);
}

// What goes into the operator.
struct Case {
  at::Tensor x, residual, weight, bias, g;  // `residual` may be undefined
  std::int64_t groups = 1;
  bool relu = true;
  InjectArguments keys;
};

// Groups of three samples, which is no whole set for a key's walk; of pictures of 15 places.
Case make_case(at::ScalarType type, std::int64_t groups, bool residual, bool relu) {
  at::manual_seed(9);
  const auto picture = [&](double scale, double shift) {
    return (scale * at::randn({3 * groups, 8, 3, 5}) + shift).to(type).contiguous(at::MemoryFormat::ChannelsLast);
  };
  return {.x = picture(2, 1),
          .residual = residual ? picture(1, 0) : at::Tensor(),
          .weight = at::randn({8}) + 1,
          .bias = at::randn({8}),
          .g = picture(1, 0),
          .groups = groups,
          .relu = relu,
          .keys = {}};
}

// Two groups each with coefficients for every row and for all rows, whole keys for every row and for all rows, no key.
InjectArguments every_key(InjectMode mode, double gamma) {
  at::manual_seed(10);
  const std::int64_t rows = 6, d = 8 * 3 * 5, m = 5;
  const at::Tensor basis = at::randn({m, d}), none = at::empty({0});
  return {.coefficients = {at::randn({rows, m}), at::randn({1, m}), at::randn({rows, d}), at::randn({1, d}), none},
          .bases = {basis, basis, none, none, none},
          .rows = {rows, rows, rows, rows, rows},
          .gamma = gamma,
          .mode = mode};
}

TEST(BatchNormBody, AKeyedWalkMeetsEveryRowOnce) {
  for (const auto& [samples, places, at_once, together] :
       {std::tuple{1, 1, 8, 4}, {4, 8, 8, 4}, {5, 9, 1, 16}, {11, 49, 8, 4}, {11, 49, 2, 1}, {17, 3, 8, 16}}) {
    const batch_norm::KeyedWalk walk{
        .samples = samples, .places = places, .places_at_once = at_once, .samples_at_once = together};
    std::vector<int> met(static_cast<std::size_t>(samples * places));
    for (std::int64_t step = 0; step < walk.steps(); ++step)
      for (std::int64_t i = 0; i < together; ++i) {
        const std::int64_t sample = walk.first_sample(step) + i, place = walk.place(step);
        if (sample < samples && place < places) ++met[static_cast<std::size_t>(sample * places + place)];
      }
    EXPECT_THAT(met, testing::Each(1));
  }
}

// What a device's kernels are handed, by kernels for LibTorch's device without numbers.
struct Handed {
  bool seen_is_residual = false, residual = false;
  std::vector<std::vector<std::int64_t>> coefficients, bases;
  std::vector<std::int64_t> rows;
  double gamma = 0;
  std::int64_t mode = -1;
};
Handed handed;

using Four = std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor>;

Four forward_meta(const at::Tensor& x, const at::Tensor& weight, const at::Tensor&, const std::optional<at::Tensor>&,
                  std::int64_t groups, bool, at::TensorList, at::TensorList, at::IntArrayRef, double, std::int64_t) {
  const at::Tensor mean = at::empty({groups, x.size(1)}, weight.options());
  return {at::empty_like(x), mean, at::empty_like(mean), at::empty_like(mean)};
}

Four backward_meta(const at::Tensor& g, const at::Tensor& x, const std::optional<at::Tensor>& seen,
                   const at::Tensor& weight, const at::Tensor& bias, const at::Tensor&, const at::Tensor&, bool,
                   bool residual, at::TensorList coefficients, at::TensorList bases, at::IntArrayRef rows, double gamma,
                   std::int64_t mode) {
  const auto shapes = [](at::TensorList list) {
    std::vector<std::vector<std::int64_t>> result;
    for (const at::Tensor& t : list) result.push_back(t.sizes().vec());
    return result;
  };
  handed = {.seen_is_residual = seen && seen->scalar_type() == at::kDouble,
            .residual = residual,
            .coefficients = shapes(coefficients),
            .bases = shapes(bases),
            .rows = rows.vec(),
            .gamma = gamma,
            .mode = mode};
  return {at::empty_like(x), at::empty_like(weight), at::empty_like(bias), residual ? at::empty_like(g) : at::Tensor()};
}

TORCH_LIBRARY_IMPL(spankey, Meta, library) {
  library.impl("batch_norm_act", forward_meta);
  library.impl("batch_norm_act_backward", backward_meta);
}

TEST(BatchNormAct, ADeviceGetsTheKeysBothWays) {
  const auto options = at::TensorOptions(at::kMeta);
  const auto leaf = [&](at::IntArrayRef shape) { return at::empty(shape, options).requires_grad_(); };
  const at::Tensor x = leaf({30, 8, 3, 5}), weight = leaf({8}), bias = leaf({8});
  // Its other type tells it from x. LibTorch's kernels would not take it.
  const at::Tensor residual = at::empty({30, 8, 3, 5}, options.dtype(at::kDouble)).requires_grad_();
  InjectArguments keys = every_key(InjectMode::exp, 0.75);
  for (auto* list : {&keys.coefficients, &keys.bases})
    for (at::Tensor& t : *list) t = t.to(at::kMeta);
  for (const at::Tensor& added : {residual, at::Tensor()}) {
    for (const bool keyed : {true, false}) {
      std::vector<at::Tensor> leaves{x, weight, bias};
      if (added.defined()) leaves.push_back(added);
      const auto result = batch_norm_act(x, weight, bias, added, 10, true, keyed ? keys : InjectArguments{});
      const auto gradients = torch::autograd::grad({result.y}, leaves, {at::empty_like(result.y)});
      for (std::size_t i = 0; i < leaves.size(); ++i) EXPECT_EQ(gradients[i].sizes(), leaves[i].sizes());
      EXPECT_EQ(handed.residual, added.defined());
      EXPECT_EQ(handed.seen_is_residual, added.defined());
      EXPECT_EQ(handed.rows, keyed ? keys.rows : std::vector<std::int64_t>{});
      ASSERT_EQ(handed.coefficients.size(), keyed ? 5U : 0U);
      if (!keyed) continue;
      for (std::size_t p = 0; p < 5; ++p) {
        EXPECT_EQ(at::IntArrayRef(handed.coefficients[p]), keys.coefficients[p].sizes());
        EXPECT_EQ(at::IntArrayRef(handed.bases[p]), keys.bases[p].sizes());
      }
      EXPECT_EQ(handed.gamma, 0.75);
      EXPECT_EQ(handed.mode, static_cast<std::int64_t>(InjectMode::exp));
    }
  }
}

// On the CPU the operator with keys is the two operators in their order, and keys may be learned.
TEST(BatchNormAct, WithKeysHasTheBitsOfTheTwoOperators) {
  Case in = make_case(at::kFloat, 10, true, true);
  in.keys = every_key(InjectMode::clamp, 0.5);
  in.x.requires_grad_();
  in.keys.coefficients[3].requires_grad_();
  const at::Tensor y = batch_norm_act(in.x, in.weight, in.bias, in.residual, in.groups, true, in.keys).y;
  const at::Tensor expected = inject(batch_norm_act(in.x, in.weight, in.bias, in.residual, in.groups, true).y, in.keys);
  EXPECT_TRUE(at::equal(y, expected));
  const std::vector<at::Tensor> leaves{in.x, in.keys.coefficients[3]};
  const auto gradients = torch::autograd::grad({y}, leaves, {in.g});
  const auto expected_gradients = torch::autograd::grad({expected}, leaves, {in.g});
  for (std::size_t i = 0; i < leaves.size(); ++i) EXPECT_TRUE(at::equal(gradients[i], expected_gradients[i]));
}

// The operator's gradient against finite differences of its own result.
TEST(BatchNormAct, GradientsAreFiniteDifferences) {
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

TEST(BatchNormAct, GroupsAreBatchesOfTheirOwn) {
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

TEST(BatchNormAct, SynchronisedGroupsAreThoseOfTheOperator) {
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
}  // namespace spankey::batch_norm_test
