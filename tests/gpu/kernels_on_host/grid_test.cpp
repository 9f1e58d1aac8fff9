// The launches of a ResNet-18 deny step in bfloat16 at batch 512, which are recorded and not run: how many of the 132
// multiprocessors of an H200 have a block. tools/kernel_report reads the lines that begin with [grid].
#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "config/enums.h"
#include "operators.h"
#include "spankey/ops/inject_op.h"
#include "support.h"

namespace spankey::grid_test {
namespace {

constexpr std::int64_t batch = 512, m = 32, slots = 5;
constexpr std::size_t multiprocessors = 132;

struct Launch {
  std::size_t blocks, threads;
};

// The smallest launch of each kernel while `work` runs.
template <class Work>
std::map<std::string, Launch> smallest_launches(Work&& work) {
  std::map<std::string, Launch> smallest;
  cuda_on_host::record_with([&](const char* kernel, const cuda_on_host::Configuration& c) {
    const Launch launch{std::size_t{c.grid.x} * c.grid.y * c.grid.z, std::size_t{c.block.x} * c.block.y * c.block.z};
    const auto [at, first] = smallest.try_emplace(kernel, launch);
    if (launch.blocks < at->second.blocks) at->second = launch;
  });
  work();
  cuda_on_host::record_with(nullptr);
  return smallest;
}

// A tensor whose memory nobody touches, so that the system never provides it.
at::Tensor shaped(at::IntArrayRef shape, at::ScalarType type) {
  return at::empty(shape, at::TensorOptions(type));
}

// A BatchNorm of `channels` over pictures of side * side, both ways, for the passes with the correct and the wrong key.
void batch_norm(std::int64_t channels, std::int64_t side, bool keyed) {
  const at::Tensor x =
      at::empty({2 * batch, channels, side, side}, at::TensorOptions(at::kBFloat16), at::MemoryFormat::ChannelsLast);
  const at::Tensor of_channels = shaped({channels}, at::kFloat), none = shaped({0}, at::kFloat);
  const std::int64_t d = channels * side * side;
  std::vector<at::Tensor> coefficients, bases;
  std::vector<std::int64_t> rows;
  if (keyed) {
    coefficients = {shaped({batch, m}, at::kFloat), shaped({1, d}, at::kFloat)};
    bases = {shaped({m, d}, at::kFloat), none};
    rows = {batch, batch};
  }
  const auto mode = static_cast<std::int64_t>(InjectMode::clamp);
  const auto [y, mean, variance, inverse] = call_cuda<signature::BatchNormForward>(
      "spankey::batch_norm_act", x, of_channels, of_channels, x, 2, true, coefficients, bases, rows, 0.5, mode);
  call_cuda<signature::BatchNormBackward>("spankey::batch_norm_act_backward", x, x, x, of_channels, of_channels, mean,
                                          inverse, true, true, coefficients, bases, rows, 0.5, mode);
}

// Five key slots, as wide as the five injection points of a ResNet-18.
void draw_keys(const at::Tensor& samples, const at::Tensor& position) {
  const std::vector<std::int64_t> begins{0, 3072, 68608, 134144, 166912, 183296},
      widths{3072, 65536, 65536, 32768, 16384};
  const at::Tensor alphas = call_cuda<signature::DrawAlphas>("spankey::draw_alphas", samples, position,
                                                             static_cast<std::int64_t>(AlphaLaw::sphere), m, 1, 7, 4);
  const at::Tensor std =
      call_cuda<signature::AlphaStd>("spankey::alpha_std", alphas, shaped({slots, m, m}, at::kDouble),
                                     shaped({slots, m}, at::kDouble), shaped({slots}, at::kLong), false);
  call_cuda<signature::ScaleAlphas>("spankey::scale_alphas", alphas, std, 0.5, 0, batch);
  call_cuda<signature::DrawBelow>("spankey::draw_below", samples, position, 10, 7, 4);
  call_cuda<signature::DrawWrongKeys>("spankey::draw_wrong_keys", position, begins, widths,
                                      shaped({slots}, at::kDouble), batch, 7, 4);
}

void whole_step() {
  for (const auto& [channels, side] : {std::tuple{64, 32}, {128, 16}, {256, 8}, {512, 4}})
    for (const bool keyed : {false, true}) batch_norm(channels, side, keyed);
  const at::Tensor picture =
      at::empty({batch, 3, 32, 32}, at::TensorOptions(at::kBFloat16), at::MemoryFormat::ChannelsLast);
  call_cuda<signature::Inject>("spankey::inject", picture, std::vector{shaped({batch, m}, at::kFloat)},
                               std::vector{shaped({m, 3 * 32 * 32}, at::kFloat)}, std::vector{batch}, 0.5,
                               static_cast<std::int64_t>(InjectMode::clamp));
  const at::Tensor samples = shaped({batch}, at::kLong), position = shaped({2}, at::kLong);
  call_cuda<signature::Assemble>("spankey::assemble", shaped({50000, 3, 32, 32}, at::kByte),
                                 shaped({3, 256}, at::kFloat), samples, position, 1, 2,
                                 static_cast<std::int64_t>(Augment::crop_flip), 0.0, true, at::kBFloat16);
  draw_keys(samples, position);
}

TEST(Grid, OfEachKernelFillsHalfOfTheGpuAtLeast) {
  // Chains of sums in the CPU's order, a block for each slot, and a warp for 32 samples: docs/decisions/gpu.md counts
  // why more blocks would not end sooner.
  const std::vector<std::string> excepted{"factor_of", "integers_of", "std_of_all"};
  for (const auto& [kernel, launch] : smallest_launches(whole_step)) {
    fmt::print("[grid] {} {} {}\n", kernel, launch.blocks, launch.threads);
    if (std::count(excepted.begin(), excepted.end(), kernel) == 0) {
      EXPECT_GE(2 * launch.blocks, multiprocessors) << kernel;
    }
  }
}

TEST(Grid, ControlASmallBatchLeavesMostOfItIdle) {
  const auto launches = smallest_launches([] {
    const at::Tensor h = shaped({4, 64}, at::kBFloat16);
    call_cuda<signature::Inject>("spankey::inject", h, std::vector{shaped({4, m}, at::kFloat)},
                                 std::vector{shaped({m, 64}, at::kFloat)}, std::vector<std::int64_t>{4}, 0.5,
                                 static_cast<std::int64_t>(InjectMode::clamp));
  });
  ASSERT_EQ(launches.size(), 1U);
  EXPECT_LT(2 * launches.begin()->second.blocks, multiprocessors);
}

}  // namespace
}  // namespace spankey::grid_test
