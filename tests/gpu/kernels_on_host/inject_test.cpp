// spankey::inject for CUDA, run on the host, against ATen in float64.
#include <cmath>

#include "passes.h"
#include "support.h"

namespace spankey::inject_test {
namespace {

at::Tensor inject_on_host(const at::Tensor& h, const Passes& p, InjectMode mode) {
  return call_cuda<signature::Inject>("spankey::inject", h, p.coefficients, p.bases, p.rows, gamma_of_keys,
                                      static_cast<std::int64_t>(mode));
}

double tolerance_of(at::ScalarType type) {
  return type == at::kFloat ? 3e-6 : 0x1p-8;  // bfloat16: one rounding, of 8 bits
}

class InjectOnHost : public KernelsOnHost {};

void expect_injected(at::ScalarType type, InjectMode mode, std::int64_t d, std::int64_t m, std::int64_t count,
                     std::int64_t offset) {
  const at::Tensor h = at_offset(at::randn({5 * count, d}).to(type), offset);
  const Passes passes(count, m, d, offset);
  const at::Tensor out = inject_on_host(h, passes, mode);
  EXPECT_EQ(out.scalar_type(), type);
  EXPECT_LT(largest_error(out, passes.expected(h, mode)), tolerance_of(type))
      << type << " mode " << static_cast<int>(mode) << " d " << d << " m " << m << " rows " << count << " offset "
      << offset;
}

TEST_F(InjectOnHost, IsTheCompositionForOddSizesAndPlaces) {
  at::manual_seed(1);
  for (const auto type : {at::kFloat, at::kBFloat16}) {
    for (const std::int64_t m : {1, 33, 64, 257}) {
      for (const std::int64_t d : {1, 8, 105, 130, 576})
        for (const std::int64_t count : {1, 5, 19})
          for (const std::int64_t offset : {0, 1})
            if (count < 19 || m < 257) expect_injected(type, InjectMode::clamp, d, m, count, offset);
    }
  }
}

TEST_F(InjectOnHost, IsTheCompositionInEveryMode) {
  at::manual_seed(2);
  for (const auto type : {at::kFloat, at::kBFloat16})
    for (const auto mode :
         {InjectMode::add, InjectMode::clamp, InjectMode::exp, InjectMode::sym, InjectMode::sign, InjectMode::product})
      for (const std::int64_t d : {21, 64})
        for (const std::int64_t offset : {0, 1}) expect_injected(type, mode, d, 32, 9, offset);
}

TEST_F(InjectOnHost, TakesChannelsLastMemoryAsItLies) {
  at::manual_seed(3);
  const at::Tensor h = at::randn({10, 16, 3, 5}).to(at::kBFloat16).contiguous(at::MemoryFormat::ChannelsLast);
  const Passes passes(2, 33, 16 * 3 * 5, 0);
  const at::Tensor out = inject_on_host(h, passes, InjectMode::sym);
  EXPECT_TRUE(out.is_contiguous(at::MemoryFormat::ChannelsLast));
  const auto flat = [](const at::Tensor& t) { return t.permute({0, 2, 3, 1}).reshape({t.size(0), -1}); };
  EXPECT_LT(largest_error(flat(out), passes.expected(flat(h), InjectMode::sym)), tolerance_of(at::kBFloat16));
}

TEST_F(InjectOnHost, KeepsWhatIsNoNumber) {
  for (const auto type : {at::kFloat, at::kBFloat16}) {
    const at::Tensor h = at::ones({5, 64}).to(type);
    Passes passes(1, 32, 64, 0);
    passes.coefficients[0][0][3] = NAN;
    const at::Tensor out = inject_on_host(h, passes, InjectMode::clamp);
    EXPECT_TRUE(out[0].isnan().all().item<bool>());
    EXPECT_FALSE(out.narrow(0, 1, 4).isnan().any().item<bool>());
  }
}

TEST_F(InjectOnHost, ControlTheComparisonSeesAnotherKey) {
  at::manual_seed(4);
  for (const auto type : {at::kFloat, at::kBFloat16}) {
    const at::Tensor h = at::randn({45, 64}).to(type);
    Passes passes(9, 33, 64, 0);
    const at::Tensor expected = passes.expected(h, InjectMode::clamp);
    passes.coefficients[0] = passes.coefficients[0].clone();
    passes.coefficients[0][8][32] += 0.5;
    EXPECT_GT(largest_error(inject_on_host(h, passes, InjectMode::clamp), expected), tolerance_of(type));
  }
}

TEST_F(InjectOnHost, RunsEveryKernel) {
  at::manual_seed(5);
  expect_injected(at::kFloat, InjectMode::clamp, 64, 33, 3, 0);
  expect_injected(at::kBFloat16, InjectMode::clamp, 64, 33, 3, 0);
  EXPECT_EQ(no_kernel_left("inject_cuda.cu"), "");
}

}  // namespace
}  // namespace spankey::inject_test
