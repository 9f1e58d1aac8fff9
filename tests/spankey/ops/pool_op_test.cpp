#include "spankey/ops/pool_op.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <gtest/gtest.h>

#include <limits>
#include <utility>

#include "spankey/ops/cpu_level.h"

namespace spankey::pool_op_test {
namespace {

constexpr auto channels_last = at::MemoryFormat::ChannelsLast;

void expect_close(const at::Tensor& a, const at::Tensor& b, double allowed) {
  ASSERT_EQ(a.sizes(), b.sizes());
  const at::Tensor wide = b.to(at::kDouble);
  EXPECT_LE((a.to(at::kDouble) - wide).abs().max().item<double>(), allowed * wide.abs().max().item<double>());
}

TEST(PoolOp, IsRegisteredWithACpuKernel) {
  for (const char* name : {"spankey::relu_max_pool", "spankey::conv_relu_max_pool"}) {
    const auto handle = c10::Dispatcher::singleton().findSchema({name, ""});
    ASSERT_TRUE(handle.has_value()) << name;
    EXPECT_TRUE(handle->hasKernelForDispatchKey(c10::DispatchKey::CPU)) << name;
  }
}

// Few distinct values: most windows hold ties, many hold zeros.
TEST(PoolOp, PoolingEqualsAtenBitByBitTiesIncluded) {
  at::manual_seed(1);
  for (const std::int64_t channels : {1, 5, 16, 33}) {
    const at::Tensor values = at::randint(-2, 3, {3, channels, 6, 4}, at::kFloat);
    const at::Tensor upstream = at::randn({3, channels, 3, 2});
    for (const auto format : {at::MemoryFormat::Contiguous, channels_last}) {
      at::Tensor fused = values.contiguous(format).clone().requires_grad_();
      at::Tensor plain = values.clone().requires_grad_();
      const at::Tensor out = relu_max_pool(fused), expected = at::max_pool2d(plain.relu(), 2);
      EXPECT_TRUE(out.equal(expected));
      EXPECT_TRUE(out.is_contiguous(channels_last));
      (out * upstream).sum().backward();
      (expected * upstream).sum().backward();
      EXPECT_TRUE(fused.grad().equal(plain.grad()));
    }
  }
}

TEST(PoolOp, NanAndInfinityComeThrough) {
  at::Tensor h = at::zeros({1, 16, 4, 4}).contiguous(channels_last);
  h[0][3][0][1] = std::numeric_limits<float>::quiet_NaN();
  h[0][4][2][0] = std::numeric_limits<float>::infinity();
  const at::Tensor out = relu_max_pool(h);
  EXPECT_EQ(out.isnan().sum().item<std::int64_t>(), 1);
  EXPECT_TRUE(out[0][3][0][0].isnan().item<bool>());
  EXPECT_TRUE(out[0][4][1][0].isinf().item<bool>());
}

struct Convolution {
  at::Tensor x, weight, bias;
  at::Tensor hidden = at::randn({3, 21, 6, 6});
};

Convolution convolution(std::int64_t n, std::int64_t channels, std::int64_t height, std::int64_t width) {
  return {at::randn({n, 1, height, width}), at::randn({channels, 1, 3, 3}).requires_grad_(),
          at::randn({channels}).requires_grad_()};
}

TEST(PoolOp, ConvolutionAgreesWithFloat64) {
  at::manual_seed(2);
  for (const std::int64_t n : {1, 17, 40}) {
    Convolution c = convolution(n, 32, 12, 10);
    const at::Tensor upstream = at::randn({n, 32, 6, 5});
    const at::Tensor out = conv_relu_max_pool(c.x, c.weight, c.bias);
    (out * upstream).sum().backward();
    at::Tensor w = c.weight.detach().to(at::kDouble).requires_grad_(),
               b = c.bias.detach().to(at::kDouble).requires_grad_();
    const at::Tensor expected = at::max_pool2d(at::conv2d(c.x.to(at::kDouble), w, b, 1, 1).relu(), 2);
    (expected * upstream.to(at::kDouble)).sum().backward();
    expect_close(out.detach(), expected.detach(), 1e-6);
    expect_close(c.weight.grad(), w.grad(), 1e-5);
    expect_close(c.bias.grad(), b.grad(), 1e-5);
  }
}

TEST(PoolOp, ConvolutionDifferentiatesItsInputWhereAsked) {
  at::manual_seed(3);
  Convolution c = convolution(3, 16, 8, 8);
  at::Tensor x = c.x.clone().requires_grad_();
  const at::Tensor out = conv_relu_max_pool(x, c.weight, c.bias);
  expect_close(out.detach(), conv_relu_max_pool(c.x, c.weight, c.bias).detach(), 1e-6);
  out.sum().backward();
  EXPECT_GT(x.grad().abs().sum().item<double>(), 0);
}

TEST(PoolOp, OtherShapesTakeTheComposedWay) {
  at::manual_seed(4);
  const at::Tensor odd = at::randn({2, 16, 7, 5});
  EXPECT_TRUE(relu_max_pool(odd).equal(at::max_pool2d(odd, 2).relu()));
  const at::Tensor x = at::randn({2, 3, 8, 8}), weight = at::randn({16, 3, 3, 3}), bias = at::randn({16});
  EXPECT_TRUE(conv_relu_max_pool(x, weight, bias).equal(relu_max_pool(at::conv2d(x, weight, bias, 1, 1))));
}

TEST(PoolOp, ThreadsAndInstructionSetsDoNotChangeABit) {
  at::manual_seed(5);
  const Convolution c = convolution(50, 16, 28, 28);
  const at::Tensor upstream = at::randn({50, 16, 14, 14});
  const int before = at::get_num_threads();
  std::vector<at::Tensor> first;
  for (const auto& [threads, level] : {std::pair{1, CpuLevel::avx512}, std::pair{2, CpuLevel::avx512},
                                       std::pair{3, CpuLevel::avx2}, std::pair{1, CpuLevel::plain}}) {
    at::set_num_threads(threads);
    limit_cpu_level(level);
    at::Tensor w = c.weight.detach().clone().requires_grad_(), b = c.bias.detach().clone().requires_grad_();
    at::Tensor h = c.hidden.detach().clone().requires_grad_();
    const at::Tensor out = conv_relu_max_pool(c.x, w, b), pooled = relu_max_pool(h);
    (out * upstream).sum().backward();
    pooled.square().sum().backward();
    const std::vector<at::Tensor> now = {out.detach(), w.grad(), b.grad(), pooled.detach(), h.grad()};
    if (first.empty()) first = now;
    for (std::size_t i = 0; i < now.size(); ++i) EXPECT_TRUE(now[i].equal(first[i])) << threads << " " << i;
  }
  at::set_num_threads(before);
  limit_cpu_level(CpuLevel::avx512);
}

}  // namespace
}  // namespace spankey::pool_op_test
