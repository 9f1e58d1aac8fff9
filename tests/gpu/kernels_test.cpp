// What the CUDA module computes, against the same operators on the CPU, each of which has tests of its own.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "base/error.h"
#include "config/config.h"
#include "data/assembler.h"
#include "data/glyphs.h"
#include "dist/cuda_module.h"
#include "spankey/deny/deny.h"
#include "spankey/keys/key_maker.h"
#include "spankey/ops/batch_norm_op.h"
#include "spankey/ops/inject_op.h"
#include "support/expect_error.h"
#include "train/optimizer.h"

namespace spankey::kernels_test {
namespace {

// The module on the first GPU, or nullptr and one sentence. Once: a second use_device() would change the stream.
CudaModule* first_gpu(std::string& why_not) {
  CudaModule* module = open_cuda_module(why_not);
  static const bool used = module && (module->use_device(0), true);
  return used ? module : nullptr;
}

// Skips every test where there is no GPU, the control as well: a run in which all are skipped is no pass.
class GpuTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string why_not;
    module_ = first_gpu(why_not);
    if (!module_) GTEST_SKIP() << why_not;
  }

  const at::Device gpu_ = at::Device(at::kCUDA, 0);
  CudaModule* module_ = nullptr;
};

template <class Parameter>
class GpuTestWith : public GpuTest, public testing::WithParamInterface<Parameter> {};

// Element by element |actual - expected| <= tolerance * (1 + |expected|), in float64; a NaN is never close.
testing::AssertionResult close(const at::Tensor& actual, const at::Tensor& expected, double tolerance) {
  if (actual.sizes() != expected.sizes())
    return testing::AssertionFailure() << "shapes " << actual.sizes() << " and " << expected.sizes();
  const at::Tensor a = actual.detach().cpu().to(at::kDouble), e = expected.detach().cpu().to(at::kDouble);
  const at::Tensor error = (a - e).abs() / (1 + e.abs());
  if (error.le(tolerance).all().item<bool>()) return testing::AssertionSuccess();
  return testing::AssertionFailure() << "largest error " << error.max().item<double>() << ", at most " << tolerance;
}

double tolerance_of(at::ScalarType type) {
  return type == at::kFloat ? 1e-5 : 2e-2;
}

std::string name_of(at::ScalarType type) {
  return type == at::kFloat ? "float32" : "bfloat16";
}

at::MemoryFormat format_of(bool channels_last) {
  return channels_last ? at::MemoryFormat::ChannelsLast : at::MemoryFormat::Contiguous;
}

// Numbers that `type` holds, as float32 on the CPU.
at::Tensor numbers(at::IntArrayRef shape, std::uint64_t seed, at::ScalarType type = at::kFloat) {
  at::manual_seed(seed);
  return at::randn(shape).to(type).to(at::kFloat);
}

TEST_F(GpuTest, ControlTheComparisonFailsForAValueThatIsOff) {
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
    const at::Tensor expected = numbers({3, 5}, 1, type), actual = expected.to(gpu_, type);
    EXPECT_TRUE(close(actual, expected, tolerance_of(type)));
    for (const double wrong : {expected[1][2].item<double>() + 0.2, std::nan("")}) {
      const at::Tensor off = actual.clone();
      off[1][2].fill_(wrong);
      EXPECT_FALSE(close(off, expected, tolerance_of(type)));
    }
    EXPECT_FALSE(close(actual.narrow(0, 0, 1), expected, tolerance_of(type)));
  }
}

// spankey::inject

using InjectCase = std::tuple<InjectMode, at::ScalarType, bool>;  // mode, type of h, channels_last
class GpuInjectTest : public GpuTestWith<InjectCase> {};

// The passes of one batch.
struct Passes {
  std::vector<std::int64_t> rows;
  std::vector<at::Tensor> coefficients, bases;

  // More basis vectors than a block of the kernel fetches at once.
  static constexpr std::int64_t m = 300;

  void add(std::int64_t count, const at::Tensor& coefficient, const at::Tensor& basis) {
    rows.push_back(count);
    coefficients.push_back(coefficient);
    bases.push_back(basis);
  }
  Passes on(at::Device device) const {
    Passes result;
    for (std::size_t p = 0; p < rows.size(); ++p) result.add(rows[p], coefficients[p].to(device), bases[p].to(device));
    return result;
  }
};

// Coefficients and whole keys, each for every row and for all rows, and no key; `count` rows each.
Passes every_kind_of_pass(std::int64_t count, std::int64_t d) {
  const at::Tensor basis = numbers({Passes::m, d}, 11) / std::sqrt(static_cast<double>(Passes::m));
  const at::Tensor none = at::empty({0});
  Passes passes;
  passes.add(count, numbers({count, Passes::m}, 12), basis);
  passes.add(count, numbers({1, Passes::m}, 13), basis);
  passes.add(count, numbers({count, d}, 14), none);
  passes.add(count, numbers({1, d}, 15), none);
  passes.add(count, none, none);
  return passes;
}

// h' and d(sum g h')/dh.
std::pair<at::Tensor, at::Tensor> inject_both_ways(const at::Tensor& h, const at::Tensor& g, const Passes& passes,
                                                   InjectMode mode) {
  const at::Tensor leaf = h.detach().clone(at::MemoryFormat::Preserve).requires_grad_();
  const at::Tensor out = inject(leaf, passes.coefficients, passes.bases, passes.rows, 0.7, mode);
  out.backward(g);
  return {out.detach(), leaf.grad()};
}

TEST_P(GpuInjectTest, IsThatOfTheCpuForwardAndBackward) {
  const auto [mode, type, channels_last] = GetParam();
  // Samples of whole vectors of numbers and others; fewer rows than a block takes at once and more.
  for (const std::vector<std::int64_t>& sample : {std::vector<std::int64_t>{8, 4, 4}, {3, 5, 7}}) {
    for (const std::int64_t count : {1, 9}) {
      const Passes passes = every_kind_of_pass(count, sample[0] * sample[1] * sample[2]);
      const std::vector<std::int64_t> shape{5 * count, sample[0], sample[1], sample[2]};
      const at::Tensor h = numbers(shape, 16, type).contiguous(format_of(channels_last));
      const at::Tensor g = numbers(shape, 17, type).contiguous(format_of(channels_last));
      const auto [expected, expected_gradient] = inject_both_ways(h, g, passes, mode);
      const auto [out, gradient] = inject_both_ways(h.to(gpu_, type), g.to(gpu_, type), passes.on(gpu_), mode);
      EXPECT_EQ(out.scalar_type(), type);
      EXPECT_TRUE(out.is_cuda() && out.is_contiguous(format_of(channels_last)));
      EXPECT_TRUE(close(out, expected, tolerance_of(type)));
      EXPECT_TRUE(close(gradient, expected_gradient, tolerance_of(type)));
      // The rows without a key go through as they are.
      EXPECT_TRUE(at::equal(out.narrow(0, 4 * count, count).cpu().to(at::kFloat), h.narrow(0, 4 * count, count)));
    }
  }
}

std::string name_of(InjectMode mode) {
  const char* const modes[] = {"add", "clamp", "exp", "sym", "sign", "product"};
  return modes[static_cast<std::size_t>(mode)];
}

std::string inject_name(const testing::TestParamInfo<InjectCase>& instance) {
  const auto [mode, type, channels_last] = instance.param;
  return name_of(mode) + "_" + name_of(type) + (channels_last ? "_channels_last" : "_nchw");
}

INSTANTIATE_TEST_SUITE_P(Modes, GpuInjectTest,
                         testing::Combine(testing::Values(InjectMode::add, InjectMode::clamp, InjectMode::exp,
                                                          InjectMode::sym, InjectMode::sign, InjectMode::product),
                                          testing::Values(at::kFloat, at::kBFloat16), testing::Bool()),
                         inject_name);

// spankey::batch_norm_act

using BatchNormCase = std::tuple<at::ScalarType, std::int64_t, bool, bool>;  // type of x, groups, residual, relu
class GpuBatchNormTest : public GpuTestWith<BatchNormCase> {};

struct BatchNormInputs {
  at::Tensor x, weight, bias, residual, g;

  // Parameters stay float32; all tensors are leaves of a graph of their own.
  BatchNormInputs on(at::Device device, at::ScalarType type) const {
    const auto leaf = [&](const at::Tensor& t, at::ScalarType as) {
      return t.defined() ? t.to(device, as, /*non_blocking=*/false, /*copy=*/true).requires_grad_() : at::Tensor();
    };
    return {leaf(x, type), leaf(weight, at::kFloat), leaf(bias, at::kFloat), leaf(residual, type), g.to(device, type)};
  }
};

BatchNormInputs batch_norm_inputs(at::ScalarType type, bool residual) {
  const std::vector<std::int64_t> shape{8, 16, 5, 6};
  const auto image = [&](std::uint64_t seed) {
    return numbers(shape, seed, type).contiguous(at::MemoryFormat::ChannelsLast);
  };
  return {image(21), 1 + 0.3 * numbers({16}, 22), numbers({16}, 23), residual ? image(24) : at::Tensor(), image(25)};
}

TEST_P(GpuBatchNormTest, IsThatOfTheCpuForwardAndBackward) {
  const auto [type, groups, residual, relu] = GetParam();
  const BatchNormInputs inputs = batch_norm_inputs(type, residual);
  const auto run = [&, groups = groups, relu = relu](const BatchNormInputs& in) {
    NormalisedBatch result = batch_norm_act(in.x, in.weight, in.bias, in.residual, groups, relu);
    result.y.backward(in.g);
    return result;
  };
  const BatchNormInputs cpu = inputs.on(at::kCPU, at::kFloat), gpu = inputs.on(gpu_, type);
  const NormalisedBatch expected = run(cpu), result = run(gpu);
  const double tolerance = tolerance_of(type);
  EXPECT_EQ(result.y.scalar_type(), type);
  EXPECT_TRUE(close(result.y, expected.y, tolerance));
  EXPECT_TRUE(close(result.mean, expected.mean, tolerance));
  EXPECT_TRUE(close(result.variance, expected.variance, tolerance));
  EXPECT_TRUE(close(gpu.x.grad(), cpu.x.grad(), tolerance));
  EXPECT_TRUE(close(gpu.weight.grad(), cpu.weight.grad(), tolerance));
  EXPECT_TRUE(close(gpu.bias.grad(), cpu.bias.grad(), tolerance));
  if (residual) {
    EXPECT_TRUE(close(gpu.residual.grad(), cpu.residual.grad(), tolerance));
  }
}

std::string batch_norm_name(const testing::TestParamInfo<BatchNormCase>& instance) {
  const auto [type, groups, residual, relu] = instance.param;
  return name_of(type) + "_groups" + std::to_string(groups) + (residual ? "_residual" : "") + (relu ? "_relu" : "");
}

INSTANTIATE_TEST_SUITE_P(Kinds, GpuBatchNormTest,
                         testing::Combine(testing::Values(at::kFloat, at::kBFloat16),
                                          testing::Values(std::int64_t{1}, std::int64_t{2}), testing::Bool(),
                                          testing::Bool()),
                         batch_norm_name);

// A key that follows is let in by the same kernels: against the two operators on the CPU.
using KeyedBatchNormCase = std::tuple<InjectMode, at::ScalarType, bool>;  // mode, type of x, residual
class GpuKeyedBatchNormTest : public GpuTestWith<KeyedBatchNormCase> {};

InjectArguments arguments(const Passes& passes, InjectMode mode) {
  return {.coefficients = passes.coefficients, .bases = passes.bases, .rows = passes.rows, .gamma = 0.7, .mode = mode};
}

TEST_P(GpuKeyedBatchNormTest, IsThatOfTheCpuForwardAndBackward) {
  const auto [mode, type, residual] = GetParam();
  // Packs of channels and single ones; sets of samples that are not whole; the second group of a pass.
  for (const std::int64_t channels : {16, 5}) {
    const std::int64_t groups = 10, rows = 6;
    const std::vector<std::int64_t> shape{5 * rows, channels, 5, 6};
    const auto image = [&, type = type](std::uint64_t seed) {
      return numbers(shape, seed, type).contiguous(at::MemoryFormat::ChannelsLast);
    };
    const BatchNormInputs inputs{image(51), 1 + 0.3 * numbers({channels}, 52), numbers({channels}, 53),
                                 residual ? image(54) : at::Tensor(), image(55)};
    const Passes passes = every_kind_of_pass(rows, channels * 5 * 6);
    const auto run = [&, mode = mode](const BatchNormInputs& in, const Passes& keys) {
      const auto result =
          batch_norm_act(in.x, in.weight, in.bias, in.residual, groups, /*relu=*/true, arguments(keys, mode));
      result.y.backward(in.g);
      return result.y;
    };
    const BatchNormInputs cpu = inputs.on(at::kCPU, at::kFloat), gpu = inputs.on(gpu_, type);
    const at::Tensor expected = run(cpu, passes), y = run(gpu, passes.on(gpu_));
    const double tolerance = tolerance_of(type);
    EXPECT_EQ(y.scalar_type(), type);
    EXPECT_TRUE(y.is_contiguous(at::MemoryFormat::ChannelsLast));
    EXPECT_TRUE(close(y, expected, tolerance));
    EXPECT_TRUE(close(gpu.x.grad(), cpu.x.grad(), 2 * tolerance));  // a gradient is rounded twice on its way
    // Sums of 900 rounded numbers of about 1, on the scale of such a sum.
    EXPECT_TRUE(close(gpu.weight.grad() / 30, cpu.weight.grad() / 30, tolerance));
    EXPECT_TRUE(close(gpu.bias.grad() / 30, cpu.bias.grad() / 30, tolerance));
    if (residual) {
      EXPECT_TRUE(close(gpu.residual.grad(), cpu.residual.grad(), tolerance));
    }
    // The negative control: without keys it is something else.
    EXPECT_FALSE(close(batch_norm_act(gpu.x, gpu.weight, gpu.bias, gpu.residual, groups, true).y, expected, tolerance));
  }
}

std::string keyed_batch_norm_name(const testing::TestParamInfo<KeyedBatchNormCase>& instance) {
  const auto [mode, type, residual] = instance.param;
  return name_of(mode) + "_" + name_of(type) + (residual ? "_residual" : "");
}

INSTANTIATE_TEST_SUITE_P(Modes, GpuKeyedBatchNormTest,
                         testing::Combine(testing::Values(InjectMode::add, InjectMode::clamp, InjectMode::exp,
                                                          InjectMode::sym, InjectMode::sign, InjectMode::product),
                                          testing::Values(at::kFloat, at::kBFloat16), testing::Bool()),
                         keyed_batch_norm_name);

// Keys

using KeysCase = std::tuple<AlphaLaw, Rescale>;
class GpuKeysTest : public GpuTestWith<KeysCase> {};

// Its keys begin with their coefficients: a product with ones and zeros is exact, in whatever order it is summed.
Basis basis_that_shows_coefficients(std::int64_t m, const std::vector<std::int64_t>& dims) {
  Basis basis;
  for (const std::int64_t d : dims)
    basis.layers.push_back(at::cat({at::eye(m), 0.3 * numbers({m, d - m}, static_cast<std::uint64_t>(d))}, 1));
  return basis;
}

TEST_P(GpuKeysTest, AreThoseOfTheCpuBitForBit) {
  const auto [law, rescale] = GetParam();
  Config config;
  config.run.seed = (std::int64_t{1} << 40) + 43;  // both halves of the seed count
  config.key.layers = {0, 2};
  config.key.m = 10;
  config.key.alpha = law;
  config.key.rescale = rescale;
  const Basis basis = basis_that_shows_coefficients(config.key.m, {60, 201});
  const KeyMaker cpu(config, basis), gpu(config, basis, gpu_);
  const at::Tensor samples = at::arange(1000, 1013, at::kLong);
  const at::Tensor position = at::tensor({3, 5}, at::kLong), next = at::tensor({3, 6}, at::kLong);
  const Injection expected = cpu.correct(samples, position)(4, 9), expected_wrong = cpu.wrong(samples, position);
  const Injection correct = gpu.correct(samples.to(gpu_), position.to(gpu_))(4, 9);
  const Injection wrong = gpu.wrong(samples.to(gpu_), position.to(gpu_));
  const Injection other = gpu.correct(samples.to(gpu_), next.to(gpu_))(4, 9);
  for (const std::int64_t point : config.key.layers) {
    const at::Tensor keys = correct.keys_at(point), expected_keys = expected.keys_at(point);
    ASSERT_TRUE(keys.is_cuda());
    EXPECT_TRUE(at::equal(keys.cpu().narrow(1, 0, config.key.m), expected_keys.narrow(1, 0, config.key.m)));
    EXPECT_TRUE(close(keys, expected_keys, 1e-5));
    EXPECT_TRUE(at::equal(wrong.keys_at(point).cpu(), expected_wrong.keys_at(point)));
    // The negative controls: another step draws other keys.
    EXPECT_FALSE(at::equal(other.keys_at(point).cpu(), keys.cpu()));
    EXPECT_FALSE(at::equal(gpu.wrong(samples.to(gpu_), next.to(gpu_)).keys_at(point), wrong.keys_at(point)));
  }
}

TEST_F(GpuTest, DrawnLabelsAreThoseOfTheCpuBitForBit) {
  const std::uint64_t seed = (std::uint64_t{1} << 40) + 43;
  const at::Tensor samples = at::cat({at::arange(1000, at::kLong), at::arange(5, at::kLong) + (std::int64_t{1} << 40)});
  const at::Tensor position = at::tensor({3, 5}, at::kLong), next = at::tensor({3, 6}, at::kLong);
  for (const std::int64_t classes : {2, 10, 1000}) {
    const at::Tensor expected = draw_deny_labels(samples, position, classes, seed);
    EXPECT_TRUE(at::equal(draw_deny_labels(samples.to(gpu_), position.to(gpu_), classes, seed).cpu(), expected));
    EXPECT_FALSE(at::equal(draw_deny_labels(samples.to(gpu_), next.to(gpu_), classes, seed).cpu(), expected));
  }
}

std::string keys_name(const testing::TestParamInfo<KeysCase>& instance) {
  const auto [law, rescale] = instance.param;
  return std::string(to_string(law)) + "_" + std::string(to_string(rescale));
}

INSTANTIATE_TEST_SUITE_P(Laws, GpuKeysTest,
                         testing::Combine(testing::Values(AlphaLaw::u01, AlphaLaw::gauss),
                                          testing::Values(Rescale::none, Rescale::key, Rescale::batch)),
                         keys_name);

// Batches

using DataCase = std::tuple<Augment, at::ScalarType>;
class GpuDataTest : public GpuTestWith<DataCase> {};

TEST_P(GpuDataTest, AreThoseOfTheCpuBitForBit) {
  const auto [augment, type] = GetParam();
  const auto data = Dataset::in_memory(make_glyphs(64, 2));
  const auto make = [&, augment = augment](at::Device device) {
    return Assembler(*data, data->train(), augment, 0xfedcba9876543210, Purpose::augment, 20.0, device);
  };
  const Assembler cpu = make(at::kCPU), gpu = make(gpu_);
  const at::Tensor samples = at::tensor({41, 0, 7, 7, 63, 20, 33}, at::kLong);
  const at::Tensor position = at::tensor({70, 3}, at::kLong), next = at::tensor({71, 3}, at::kLong);
  for (const bool channels_last : {false, true}) {
    const auto [expected, expected_labels] = cpu(samples, position, channels_last, type);
    const auto [x, labels] = gpu(samples.to(gpu_), position.to(gpu_), channels_last, type);
    EXPECT_EQ(x.scalar_type(), type);
    EXPECT_TRUE(x.is_cuda() && x.is_contiguous(format_of(channels_last)));
    EXPECT_TRUE(at::equal(x.cpu(), expected));
    EXPECT_TRUE(at::equal(labels.cpu(), expected_labels));
    // The negative control: another epoch is another batch, unless nothing is drawn.
    const at::Tensor other = gpu(samples.to(gpu_), next.to(gpu_), channels_last, type).first;
    EXPECT_EQ(at::equal(other.cpu(), expected), augment == Augment::none);
  }
}

std::string data_name(const testing::TestParamInfo<DataCase>& instance) {
  const auto [augment, type] = instance.param;
  return std::string(to_string(augment)) + "_" + name_of(type);
}

INSTANTIATE_TEST_SUITE_P(Augments, GpuDataTest,
                         testing::Combine(testing::Values(Augment::none, Augment::affine, Augment::crop_flip),
                                          testing::Values(at::kFloat, at::kBFloat16)),
                         data_name);

// Optimisers

class GpuOptimizerTest : public GpuTestWith<const char*> {};

TEST_P(GpuOptimizerTest, StepIsThatOfTheCpu) {
  const Config config = parse_config(std::string("[optim]\n") + GetParam(), "test");
  const at::Tensor start = numbers({1003}, 31), gradients = numbers({1003}, 32);
  const auto stepped = [&](at::Device device) {
    const at::Tensor weights = start.to(device, at::kFloat, /*non_blocking=*/false, /*copy=*/true);
    make_optimizer(config, weights, gradients.to(device))->step(rate_tensor(0.05, device));
    return weights;
  };
  const at::Tensor expected = stepped(at::kCPU);
  EXPECT_TRUE(close(stepped(gpu_), expected, 1e-6));
  EXPECT_FALSE(close(start, expected, 1e-3));  // it has moved
}

std::string optimizer_name(const testing::TestParamInfo<const char*>& instance) {
  const char* const names[] = {"adam", "adamw", "sgd"};
  return names[instance.index];
}

INSTANTIATE_TEST_SUITE_P(Kinds, GpuOptimizerTest,
                         testing::Values("name = 'adam'", "name = 'adamw'\nweight_decay = 0.05",
                                         "name = 'sgd'\nmomentum = 0.9\nnesterov = true\nweight_decay = 5e-4"),
                         optimizer_name);

// Captured work

class GpuGraphTest : public GpuTest {
 protected:
  // state <- inject(state) + input, for a key in coefficients.
  void advance(at::Tensor& state, const at::Tensor& input) const {
    const at::NoGradGuard no_grad;
    state.copy_(inject(state, passes_.coefficients, passes_.bases, passes_.rows, 0.7, InjectMode::clamp) + input);
  }
  void SetUp() override {
    GpuTest::SetUp();
    if (IsSkipped()) return;
    passes_.add(4, numbers({4, 10}, 41).to(gpu_), numbers({10, 33}, 42).to(gpu_));
  }

  Passes passes_;
};

TEST_F(GpuGraphTest, CaptureExecutesNothingAndReplayGivesTheNumbersOfEagerWork) {
  at::Tensor eager = numbers({4, 33}, 43).to(gpu_), captured = eager.clone();
  const at::Tensor first = numbers({4, 33}, 44).to(gpu_), second = numbers({4, 33}, 45).to(gpu_), input = first.clone();
  const auto graph = module_->make_graph();
  const auto work = [&] { advance(captured, input); };

  graph->use(work);
  advance(eager, first);
  ASSERT_TRUE(at::equal(captured, eager));
  graph->capture(work);
  module_->synchronize();
  EXPECT_TRUE(at::equal(captured, eager));

  graph->replay();
  advance(eager, first);
  EXPECT_TRUE(at::equal(captured, eager));
  input.copy_(second);  // it is read from memory when the graph is replayed
  graph->replay();
  const at::Tensor before = eager.clone();
  advance(eager, second);
  EXPECT_TRUE(at::equal(captured, eager));
  EXPECT_FALSE(at::equal(captured, before));
}

TEST_F(GpuGraphTest, ReplayOfNothingIsAnError) {
  const auto graph = module_->make_graph();
  EXPECT_ERROR(graph->replay(), ExitCode::run_failed, ::testing::HasSubstr("nothing is recorded"));
}

}  // namespace
}  // namespace spankey::kernels_test
