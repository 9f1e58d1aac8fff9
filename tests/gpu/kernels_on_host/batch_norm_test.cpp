// spankey::batch_norm_act for CUDA, run on the host, against its definition in float64 and autograd.
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/variable.h>

#include <algorithm>
#include <optional>
#include <tuple>

#include "passes.h"
#include "spankey/ops/batch_norm_op.h"
#include "support.h"

namespace spankey::batch_norm_test {
namespace {

struct Shape {
  std::int64_t groups, samples, channels, height, width;  // samples of one group
};

struct Case {
  Shape shape;
  at::ScalarType type = at::kFloat;
  bool residual = false, relu = false;
  std::optional<InjectMode> keys = {};
  std::int64_t m = 33, offset = 0;
};

struct Inputs {
  at::Tensor x, weight, bias, residual, g;
  std::optional<Passes> passes;
};

// Leaves of autograd in the order y's gradients are asked for.
std::vector<at::Tensor> leaves_of(const Inputs& in) {
  std::vector<at::Tensor> leaves{in.x, in.weight, in.bias};
  if (in.residual.defined()) leaves.push_back(in.residual);
  return leaves;
}

// Pictures, far from 0 as far as x is concerned. Keys of every kind are in a group, or a few, of their own.
Inputs inputs_of(const Case& c) {
  const auto& s = c.shape;
  const auto image = [&](double shift) {
    const at::Tensor dense = at::randn({s.groups * s.samples, s.height, s.width, s.channels}) + shift;
    return at_offset(dense.to(c.type), c.offset).permute({0, 3, 1, 2});
  };
  Inputs in{.x = image(3),
            .weight = 1 + 0.3 * at::randn({s.channels}),
            .bias = at::randn({s.channels}),
            .residual = c.residual ? image(0) : at::Tensor(),
            .g = image(0),
            .passes = std::nullopt};
  if (c.keys) in.passes.emplace(s.groups / 5 * s.samples, c.m, s.channels * s.height * s.width, c.offset);
  return in;
}

struct Results {
  at::Tensor y, mean, variance;
  std::vector<at::Tensor> gradients;
};

Results on_host(const Case& c, const Inputs& in) {
  const auto keys = [&](const auto& member) {
    return in.passes ? (*in.passes).*member : std::decay_t<decltype((*in.passes).*member)>{};
  };
  const auto coefficients = keys(&Passes::coefficients), bases = keys(&Passes::bases);
  const auto rows = keys(&Passes::rows);
  const auto mode = static_cast<std::int64_t>(c.keys.value_or(InjectMode::add));
  const auto given = [](const at::Tensor& t, bool wanted) { return wanted ? OptionalTensor(t) : std::nullopt; };
  const auto [y, mean, variance, inverse] = call_cuda<signature::BatchNormForward>(
      "spankey::batch_norm_act", in.x, in.weight, in.bias, given(in.residual, c.residual), c.shape.groups, c.relu,
      coefficients, bases, rows, gamma_of_keys, mode);
  const auto [of_x, of_weight, of_bias, of_residual] = call_cuda<signature::BatchNormBackward>(
      "spankey::batch_norm_act_backward", in.g, in.x, given(in.residual, c.residual && c.relu), in.weight, in.bias,
      mean, inverse, c.relu, c.residual, coefficients, bases, rows, gamma_of_keys, mode);
  Results result{y, mean, variance, {of_x, of_weight, of_bias}};
  if (c.residual) result.gradients.push_back(of_residual);
  return result;
}

// Ioffe & Szegedy 2015, algorithm 1, for each group. `steep` is the least distance of a value from the ReLU's bend.
Results defined(const Case& c, const Inputs& in, double& steep) {
  const auto leaf = [](const at::Tensor& t) { return t.to(at::kDouble).contiguous().requires_grad_(); };
  Inputs wide = in;
  for (at::Tensor* t : {&wide.x, &wide.weight, &wide.bias, &wide.residual})
    if (t->defined()) *t = leaf(*t);
  const at::Tensor groups = wide.x.unflatten(0, {c.shape.groups, c.shape.samples});
  const at::Tensor mean = groups.mean({1, 3, 4}, true), variance = groups.var({1, 3, 4}, false, true);
  const auto of_channels = [](const at::Tensor& t) { return t.view({1, -1, 1, 1}); };
  at::Tensor y = ((groups - mean) / (variance + batch_norm_epsilon).sqrt()).flatten(0, 1) * of_channels(wide.weight) +
                 of_channels(wide.bias);
  if (c.residual) y = y + wide.residual;
  steep = y.abs().min().item<double>();
  if (c.relu) y = y.relu();
  if (in.passes) {
    const at::Tensor flat = y.permute({0, 2, 3, 1}).flatten(1);
    y = in.passes->expected(flat, *c.keys).view({-1, y.size(2), y.size(3), y.size(1)}).permute({0, 3, 1, 2});
  }
  const auto unbiased = groups.var({1, 3, 4}, true);
  return {y.detach(), mean.flatten(1).detach(), unbiased.detach(),
          torch::autograd::grad({y}, leaves_of(wide), {in.g.to(at::kDouble)})};
}

std::string text(const Case& c) {
  const auto& s = c.shape;
  return c10::str(c.type, " groups ", s.groups, " x ", s.samples, ", ", s.channels, " x ", s.height, " x ", s.width,
                  c.residual ? ", residual" : "", c.relu ? ", relu" : "", ", keys ",
                  c.keys ? static_cast<int>(*c.keys) : -1, ", m ", c.m, ", offset ", c.offset);
}

// Whether the kernels agree with the definition. Gradients are not asked for where a value is so near the ReLU's bend
// that its rounding decides, nor of a few rows, whose deviation may be small. Those of the parameters are sums, and
// judged on the scale of such a sum.
testing::AssertionResult agrees(const Case& c, const Inputs& in, const Inputs& reference) {
  double steep = 0;
  const Results actual = on_host(c, in), expected = defined(c, reference, steep);
  const bool half = c.type == at::kBFloat16;
  const double rows = static_cast<double>(c.shape.samples * c.shape.height * c.shape.width);
  std::string faults;
  const auto compare = [&](const char* what, const at::Tensor& a, const at::Tensor& e, double tolerance) {
    const double error = largest_error(a, e);
    if (!(error < tolerance)) faults += c10::str(" ", what, " ", error, " of ", tolerance);
  };
  compare("y", actual.y, expected.y, half ? 0x1.2p-7 : rows > 4 ? 5e-6 : 5e-5);
  compare("mean", actual.mean, expected.mean, 1e-6);
  compare("variance", actual.variance, expected.variance, 1e-5);
  const bool bent = c.relu && steep < (half ? 1e-4 : 1e-5);
  for (std::size_t i = 0; i < expected.gradients.size() && !bent && rows > 4; ++i) {
    const bool sum = i == 1 || i == 2;
    const double scale = sum ? std::sqrt(rows * static_cast<double>(c.shape.groups)) : 1;
    compare(i == 0   ? "of x"
            : i == 3 ? "of residual"
                     : "of a parameter",
            actual.gradients[i] / scale, expected.gradients[i] / scale, half ? 3e-2 : 3e-5);
  }
  if (faults.empty()) return testing::AssertionSuccess();
  return testing::AssertionFailure() << text(c) << ":" << faults;
}

class BatchNormOnHost : public KernelsOnHost {
 protected:
  void expect(const Case& c) {
    const Inputs in = inputs_of(c);
    EXPECT_TRUE(agrees(c, in, in));
  }
};

constexpr at::ScalarType types[] = {at::kFloat, at::kBFloat16};

TEST_F(BatchNormOnHost, IsTheDefinitionForOddSizesAndPlaces) {
  at::manual_seed(1);
  std::int64_t number = 0;
  for (const auto& [channels, height, width] :
       {std::tuple{1, 3, 1}, {3, 2, 7}, {8, 3, 5}, {16, 5, 6}, {64, 4, 4}, {136, 3, 3}, {512, 1, 2}, {513, 2, 2}})
    for (const std::int64_t samples : {1, 4, 11})
      for (const auto type : types) {
        expect({.shape = {number % 4 < 2 ? 1 : 3, samples, channels, height, width},
                .type = type,
                .residual = number % 3 > 0,
                .relu = number % 5 < 3,
                .offset = samples == 4 ? 1 : 0});
        ++number;
      }
}

TEST_F(BatchNormOnHost, IsTheDefinitionWithEveryKeyAndMode) {
  at::manual_seed(2);
  std::int64_t number = 0;
  for (const auto type : types)
    for (const auto mode :
         {InjectMode::add, InjectMode::clamp, InjectMode::exp, InjectMode::sym, InjectMode::sign, InjectMode::product})
      for (const auto& [channels, height, width] : {std::tuple{5, 3, 2}, {8, 3, 3}, {40, 2, 2}}) {
        const std::int64_t ms[] = {1, 33, 64, 32}, samples[] = {3, 17, 9, 1, 5};
        expect({.shape = {channels == 5 ? 10 : 5, samples[number % 5], channels, height, width},
                .type = type,
                .residual = number % 2 == 0,
                .relu = number % 4 < 2,
                .keys = mode,
                .m = ms[number % 4],
                .offset = number % 5 == 4});
        ++number;
      }
}

TEST_F(BatchNormOnHost, TakesLongBasesAndManyRows) {
  at::manual_seed(3);
  for (const auto type : types) {
    expect({.shape = {5, 5, 32, 2, 2}, .type = type, .relu = true, .keys = InjectMode::clamp, .m = 257});
    expect({.shape = {1, 60, 16, 9, 9}, .type = type, .residual = true});
  }
}

// The sums are of differences from values that single samples have, which may lie far away.
TEST_F(BatchNormOnHost, StatisticsKeepTheirDigitsFarFromZeroAndNextToOutliers) {
  at::manual_seed(4);
  for (const double mean : {0.0, 3000.0}) {
    for (const double outlier : {0.0, 1000.0}) {
      const Case c{.shape = {1, 16, 16, 9, 9}};
      Inputs in = inputs_of(c);
      in.x = (at::randn(in.x.sizes()) + mean).contiguous(at::MemoryFormat::ChannelsLast);
      in.x.select(0, 0).select(1, 0).select(1, 0).add_(outlier);
      const Results result = on_host(c, in);
      const at::Tensor wide = in.x.to(at::kDouble), variance = wide.var({0, 2, 3}, true);
      EXPECT_LT(((result.variance[0] - variance) / variance).abs().max().item<double>(), 1e-5) << mean << outlier;
      EXPECT_LT(largest_error(result.mean[0], wide.mean({0, 2, 3})), 1e-6) << mean << outlier;
      // The control: mean square less squared mean, in float32, has lost them.
      const at::Tensor difference = in.x.square().mean({0, 2, 3}) - in.x.mean({0, 2, 3}).square();
      if (mean > 0) {
        EXPECT_GT(((difference - variance) / variance).abs().max().item<double>(), 1e-3);
      }
    }
  }
}

TEST_F(BatchNormOnHost, GivesTheSameBitsAgain) {
  at::manual_seed(5);
  const Case c{
      .shape = {5, 20, 64, 4, 4}, .type = at::kBFloat16, .residual = true, .relu = true, .keys = InjectMode::clamp};
  const Inputs in = inputs_of(c);
  const Results once = on_host(c, in), again = on_host(c, in);
  EXPECT_TRUE(at::equal(once.y, again.y) && at::equal(once.variance, again.variance));
  for (std::size_t i = 0; i < once.gradients.size(); ++i)
    EXPECT_TRUE(at::equal(once.gradients[i], again.gradients[i])) << i;
}

TEST_F(BatchNormOnHost, ControlTheComparisonSeesAnotherInput) {
  at::manual_seed(6);
  for (const auto type : types) {
    const Case c{.shape = {5, 3, 16, 3, 3}, .type = type, .residual = true, .keys = InjectMode::clamp};
    const Inputs in = inputs_of(c);
    ASSERT_TRUE(agrees(c, in, in));
    for (const int what : {0, 1, 2}) {
      Inputs other = in;
      at::Tensor& changed = what == 0 ? other.weight : what == 1 ? other.residual : other.passes->coefficients[1];
      changed = changed + 0.2;
      EXPECT_FALSE(agrees(c, in, other)) << what;
    }
  }
}

TEST_F(BatchNormOnHost, RunsEveryKernel) {
  at::manual_seed(7);
  expect({.shape = {1, 3, 8, 2, 2}});
  for (const auto type : types) expect({.shape = {5, 3, 64, 2, 2}, .type = type, .keys = InjectMode::clamp});
  EXPECT_EQ(no_kernel_left("batch_norm_cuda.cu"), "");
}

}  // namespace
}  // namespace spankey::batch_norm_test
