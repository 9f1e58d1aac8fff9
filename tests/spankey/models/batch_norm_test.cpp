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

TEST(BatchNormBody, StatisticsKeepTheirDigitsFarFromZero) {
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

// What goes into the operator.
struct Case {
  at::Tensor x, residual, weight, bias, g;  // `residual` may be undefined
  std::int64_t groups = 1;
  bool relu = true;
  InjectArguments keys;
};

// What the device's kernels do, on the host: a thread for each pack of channels of each group, one after the other.
template <class T, int width>
class HostKernels {
 public:
  explicit HostKernels(const Case& in)
      : in_(in), samples_(in.x.size(0) / in.groups), channels_(in.x.size(1)), places_(in.x.size(2) * in.x.size(3)) {
    mean_ = at::empty({in.groups, channels_});
    inverse_ = at::empty({in.groups, channels_});
    for (std::int64_t group = 0; group < in.groups; ++group)
      for (std::int64_t c = 0; c < channels_; ++c) {
        const at::Tensor values =
            in.x.narrow(0, group * samples_, samples_).select(1, c).to(at::kFloat).contiguous().view({-1});
        const auto* first = values.const_data_ptr<float>();
        const auto m = moments_of({first, first + values.numel()}, 5);
        mean_[group][c] = static_cast<float>(m.mean);
        inverse_[group][c] = batch_norm::inverse_deviation(m, batch_norm_epsilon);
      }
  }

  at::Tensor forward() {
    at::Tensor y = at::empty_like(in_.x);
    for_threads(!in_.keys.rows.empty(), [&](const auto& channels, std::int64_t at, const batch_norm::Entry& key) {
      batch_norm::forward_row<T, width>(data(in_.x) + at, residual(at), channels, in_.relu, key, data(y) + at);
    });
    return y;
  }

  // The gradients of x, weight, bias and, where there is one, the residual.
  std::vector<at::Tensor> backward() {
    const bool multiplied = !in_.keys.rows.empty() && in_.keys.mode != InjectMode::add;
    const bool stored = multiplied || (in_.relu && in_.residual.defined());
    at::Tensor of_x = at::empty_like(in_.x);
    at::Tensor prepared = in_.residual.defined() ? at::empty_like(in_.x) : of_x;
    at::Tensor sums = at::zeros({in_.groups, channels_}), products = at::zeros({in_.groups, channels_});
    for_threads(multiplied, [&](const auto& channels, std::int64_t at, const batch_norm::Entry& key) {
      float some[width] = {}, more[width] = {};
      batch_norm::sum_row<T, width>(data(in_.g) + at, data(in_.x) + at, residual(at), channels, in_.relu, key, some,
                                    more, stored ? data(prepared) + at : nullptr);
      for (int i = 0; i < width; ++i) {
        sums.mutable_data_ptr<float>()[statistic_ + i] += some[i];
        products.mutable_data_ptr<float>()[statistic_ + i] += more[i];
      }
    });
    const auto rows = static_cast<double>(samples_ * places_);
    const at::Tensor plain = sums / rows, projected = products / rows, &g = stored ? prepared : in_.g;
    for_threads(false, [&](const auto& channels, std::int64_t at, const batch_norm::Entry&) {
      float mean_g[width], mean_g_normal[width];
      std::copy_n(plain.const_data_ptr<float>() + statistic_, width, mean_g);
      std::copy_n(projected.const_data_ptr<float>() + statistic_, width, mean_g_normal);
      batch_norm::input_row<T, width>(data(g) + at, data(in_.x) + at, channels, in_.relu && !stored, mean_g,
                                      mean_g_normal, data(of_x) + at);
    });
    std::vector<at::Tensor> result{of_x, products.sum(0), sums.sum(0)};
    if (in_.residual.defined()) result.push_back(g);
    return result;
  }

 private:
  static T* data(const at::Tensor& t) { return t.mutable_data_ptr<T>(); }
  T* residual(std::int64_t at) const { return in_.residual.defined() ? data(in_.residual) + at : nullptr; }

  // Calls work(channels, first element of the row, entry) with statistic_ set, for each thread's rows.
  template <class Work>
  void for_threads(bool keyed, Work&& work) {
    for (std::int64_t group = 0; group < in_.groups; ++group)
      for (std::int64_t channel = 0; channel < channels_; channel += width) {
        statistic_ = group * channels_ + channel;
        const auto channels = batch_norm::channels_of<width>(
            mean_.const_data_ptr<float>() + statistic_, inverse_.const_data_ptr<float>() + statistic_,
            in_.weight.const_data_ptr<float>() + channel, in_.bias.const_data_ptr<float>() + channel);
        const std::int64_t base = group * samples_ * places_ * channels_ + channel;
        if (keyed) {
          for_keyed_rows(group, channel, [&](std::int64_t row, const batch_norm::Entry& key) {
            work(channels, base + row * channels_, key);
          });
        } else {
          for (std::int64_t row = 0; row < samples_ * places_; ++row)
            work(channels, base + row * channels_, batch_norm::Entry{});
        }
      }
  }

  template <class Work>
  void for_keyed_rows(std::int64_t group, std::int64_t channel, Work&& work) {
    std::size_t part = 0;
    std::int64_t before = group * samples_;  // samples of the part in front of the group
    while (before >= in_.keys.rows[part]) before -= in_.keys.rows[part++];
    const auto source = key_source(in_.keys.coefficients[part], in_.keys.bases[part], in_.keys.rows[part],
                                   places_ * channels_, in_.keys.gamma, in_.keys.mode, in_.x.device());
    const batch_norm::KeyedWalk walk{.samples = samples_, .places = places_};
    for (std::int64_t step = 0; step < walk.steps(); ++step) {
      const std::int64_t first = walk.first_sample(step), place = walk.place(step);
      if (place >= places_) continue;
      const auto factors = inject_body::factors_of<batch_norm::samples_at_once, width>(source, before + first,
                                                                                       place * channels_ + channel);
      for (int i = 0; i < batch_norm::samples_at_once && first + i < samples_; ++i)
        work((first + i) * places_ + place, batch_norm::Entry{factors.values[i], in_.keys.mode == InjectMode::add});
    }
  }

  const Case& in_;
  std::int64_t samples_, channels_, places_, statistic_ = 0;
  at::Tensor mean_, inverse_;
};

template <class T, int width>
std::vector<at::Tensor> by_bodies(const Case& in) {
  HostKernels<T, width> kernels(in);
  auto result = kernels.backward();
  result.insert(result.begin(), kernels.forward());
  return result;
}

// y and the gradients by the operators on the CPU, in float64.
std::vector<at::Tensor> by_operators(const Case& in) {
  const auto leaf = [](const at::Tensor& t) { return t.detach().to(at::kDouble).requires_grad_(); };
  std::vector<at::Tensor> leaves{leaf(in.x), leaf(in.weight), leaf(in.bias)};
  if (in.residual.defined()) leaves.push_back(leaf(in.residual));
  InjectArguments keys = in.keys;
  for (auto* list : {&keys.coefficients, &keys.bases})
    for (at::Tensor& t : *list) t = t.to(at::kDouble);
  const at::Tensor residual = in.residual.defined() ? leaves[3] : at::Tensor();
  at::Tensor y = batch_norm_act(leaves[0], leaves[1], leaves[2], residual, in.groups, in.relu).y;
  if (!keys.rows.empty()) y = inject(y, keys);
  auto result = torch::autograd::grad({y}, leaves, {in.g.to(at::kDouble)});
  result.insert(result.begin(), y.detach());
  return result;
}

// `relative` of the expected value and of the largest one.
bool all_near(const std::vector<at::Tensor>& actual, const std::vector<at::Tensor>& expected, double relative) {
  if (actual.size() != expected.size()) return false;
  for (std::size_t i = 0; i < actual.size(); ++i) {
    const double most = expected[i].abs().max().item<double>();
    if (!at::allclose(actual[i].to(at::kDouble), expected[i], relative, relative * most)) return false;
  }
  return true;
}

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

// Both widths of a thread in float32, and bfloat16, whose results are rounded once or, on the way back, twice.
void expect_operators(Case in) {
  constexpr double single = 2e-5, half = 0x1p-7;
  const auto expected = by_operators(in);
  EXPECT_TRUE(all_near(by_bodies<float, 4>(in), expected, single));
  EXPECT_TRUE(all_near(by_bodies<float, 1>(in), expected, single));
  Case rounded = in;
  for (at::Tensor* t : {&rounded.x, &rounded.residual, &rounded.g})
    if (t->defined()) *t = t->to(at::kBFloat16);
  const auto expected_half = by_operators(rounded);
  EXPECT_TRUE(all_near(by_bodies<c10::BFloat16, 8>(rounded), expected_half, half));
  // The negative controls.
  in.weight[2] += 0.1;
  EXPECT_FALSE(all_near(by_bodies<float, 4>(in), expected, single));
  rounded.weight[2] += 0.1;
  EXPECT_FALSE(all_near(by_bodies<c10::BFloat16, 8>(rounded), expected_half, half));
}

TEST(BatchNormBody, ForwardAndBackwardAreTheCompositions) {
  for (const bool residual : {true, false})
    for (const bool relu : {true, false}) expect_operators(make_case(at::kFloat, 2, residual, relu));
}

TEST(BatchNormBody, AKeyEntersAsByTheOperatorThatFollows) {
  for (const auto mode : {InjectMode::add, InjectMode::clamp, InjectMode::exp, InjectMode::sym, InjectMode::product}) {
    for (const bool residual : {true, false}) {
      for (const bool relu : {true, false}) {
        Case in = make_case(at::kFloat, 10, residual, relu);
        in.keys = every_key(mode, residual ? 0.5 : 1.5);
        SCOPED_TRACE(testing::Message() << static_cast<int>(mode) << residual << relu);
        expect_operators(in);
        const auto expected = by_operators(in);
        in.keys.coefficients[0] = in.keys.coefficients[0] + 0.01;
        EXPECT_FALSE(all_near(by_bodies<float, 4>(in), expected, 2e-5));
      }
    }
  }
}

TEST(BatchNormBody, AKeyedWalkMeetsEveryRowOnce) {
  for (const auto& [samples, places, at_once] :
       {std::tuple{1, 1, 8}, {4, 8, 8}, {5, 9, 1}, {11, 49, 8}, {11, 49, 2}, {8, 3, 4}}) {
    const batch_norm::KeyedWalk walk{.samples = samples, .places = places, .places_at_once = at_once};
    std::vector<int> met(static_cast<std::size_t>(samples * places));
    for (std::int64_t step = 0; step < walk.steps(); ++step)
      for (std::int64_t i = 0; i < batch_norm::samples_at_once; ++i) {
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
  // Of another type, to be known again; LibTorch's kernels would take none such.
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
