// spankey::assemble for CUDA, run on the host: bit for bit what the CPU assembles.
#include "base/stream.h"
#include "data/assemble_op.h"
#include "support.h"

namespace spankey::assembly_test {
namespace {

class AssemblyOnHost : public KernelsOnHost {};

TEST_F(AssemblyOnHost, IsThatOfTheCpu) {
  at::manual_seed(1);
  constexpr double rotation = 20;
  constexpr std::int64_t seed = 0x7edcba9876543210, purpose = static_cast<std::int64_t>(Purpose::augment);
  const at::Tensor position = at::tensor({70, 3}, at::kLong), next = at::tensor({71, 3}, at::kLong);
  for (const auto& [channels, height, width] : {std::tuple{1, 28, 28}, {3, 32, 32}, {2, 5, 9}, {1, 1, 1}}) {
    const at::Tensor images = at::randint(0, 256, {9, channels, height, width}).to(at::kByte);
    const at::Tensor table = at::randn({channels, 256});
    for (const std::int64_t n : {0, 1, 7}) {
      const at::Tensor samples = at::randint(0, 9, {n}, at::kLong);
      for (const auto augment : {Augment::none, Augment::affine, Augment::crop_flip}) {
        for (const bool channels_last : {false, true}) {
          for (const auto type : {at::kFloat, at::kBFloat16}) {
            const auto made = [&](const at::Tensor& when) {
              return call_cuda<signature::Assemble>("spankey::assemble", images, table, samples, when, seed, purpose,
                                                    static_cast<std::int64_t>(augment), rotation, channels_last, type);
            };
            const AssemblyPlan plan = assembly_plan(images.sizes(), seed, purpose, static_cast<std::int64_t>(augment),
                                                    rotation, channels_last);
            const at::Tensor expected = assemble(images, table, samples, position, plan, type), out = made(position);
            EXPECT_EQ(out.scalar_type(), type);
            EXPECT_TRUE(
                out.is_contiguous(channels_last ? at::MemoryFormat::ChannelsLast : at::MemoryFormat::Contiguous));
            EXPECT_TRUE(at::equal(out, expected)) << channels << " " << height << " " << n << static_cast<int>(augment);
            // The control: another epoch is another batch, unless nothing is drawn.
            if (n == 7 && height > 1) {
              EXPECT_EQ(at::equal(made(next), expected), augment == Augment::none);
            }
          }
        }
      }
    }
  }
  EXPECT_EQ(no_kernel_left("assemble_cuda.cu"), "");
}

}  // namespace
}  // namespace spankey::assembly_test
