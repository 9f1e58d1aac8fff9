// Where a rank computes. What needs a GPU is for launch/gpu_check; here, what is promised without one.
#include "train/placement.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "dist/cuda_module.h"
#include "support/expect_error.h"

namespace spankey::placement_test {
namespace {

using testing::AllOf, testing::HasSubstr;

Config config(const std::vector<std::string>& overrides) {
  return parse_config("", "test", overrides);
}

std::unique_ptr<Communicator> single_rank() {
  return std::move(make_thread_communicators(1)[0]);
}

bool has_gpu() {
  std::string why_not;
  return open_cuda_module(why_not) != nullptr;
}

TEST(Placement, TheCpuIsAskedForAndNamed) {
  const auto host = single_rank();
  const auto placement = place(config({"train.device=cpu"}), *host);
  EXPECT_TRUE(placement.device.is_cpu());
  EXPECT_EQ(placement.name, "cpu");
  EXPECT_EQ(make_device_communicator(config({"train.device=cpu"}), placement, *host), nullptr);
  const auto tensor = at::ones({2, 3, 4, 4});
  EXPECT_TRUE(to_device(tensor, placement.device).is_same(tensor));
}

TEST(Placement, AutoTakesTheCpuWhereThereIsNoGpu) {
  if (has_gpu()) GTEST_SKIP() << "this machine has a GPU";
  const auto host = single_rank();
  EXPECT_TRUE(place(config({}), *host).device.is_cpu());
}

TEST(Placement, AGpuThatIsNotThereIsOneLine) {
  if (has_gpu()) GTEST_SKIP() << "this machine has a GPU";
  const auto host = single_rank();
  EXPECT_ERROR(place(config({"train.device=cuda"}), *host), ExitCode::bad_input,
               AllOf(HasSubstr("command line: train.device = \"cuda\": "), HasSubstr("accepted: cpu, auto")));
}

TEST(Placement, RanksOnOneGpuAreNoticed) {
  const auto ids = [](std::vector<std::uint8_t> bytes) { return at::tensor(bytes, at::kByte).view({-1, 2}); };
  EXPECT_FALSE(any_equal_rows(ids({0, 1, 1, 0, 1, 1})));
  EXPECT_TRUE(any_equal_rows(ids({0, 1, 1, 0, 0, 1})));
  const auto host = single_rank();
  EXPECT_ERROR(make_device_communicator(config({"dist.backend=nccl"}), {at::kCUDA, "a GPU", /*shared=*/true}, *host),
               ExitCode::bad_input, AllOf(HasSubstr("ranks share a GPU"), HasSubstr("accepted: mpi")));
}

TEST(Placement, NcclNeedsAGpu) {
  const auto host = single_rank();
  EXPECT_ERROR(make_device_communicator(config({"dist.backend=nccl"}), {}, *host), ExitCode::bad_input,
               AllOf(HasSubstr("dist.backend = \"nccl\""), HasSubstr("accepted without one: auto, self, mpi")));
}

}  // namespace
}  // namespace spankey::placement_test
