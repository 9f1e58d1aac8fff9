// Where a rank computes. What needs a GPU is for launch/gpu_check; here, what is promised without one.
#include "train/placement.h"

#include <ATen/ATen.h>
#include <ATen/Context.h>
#include <gtest/gtest.h>

#include <vector>

#include "dist/cuda_module.h"
#include "dist/rank_threads.h"
#include "support/expect_error.h"
#include "support/thread_communicator.h"

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

// What `choose` says on each of four ranks of a machine, told of its group of `members` neighbours.
template <class Choose>
std::vector<int> in_groups_of(int members, Choose&& choose) {
  std::vector<int> chosen(4);
  test::run_ranks(4, [&](Communicator& world) {
    const auto group = world.split(world.rank() / members, world.rank());
    chosen[static_cast<std::size_t>(world.rank())] = choose(*group);
  });
  return chosen;
}

TEST(Placement, GroupsOfASweepDoNotMeetOnAGpu) {
  for (const int members : {1, 2, 4})
    EXPECT_EQ(in_groups_of(members, [](const Communicator& group) { return device_of_rank(group, 4); }),
              (std::vector{0, 1, 2, 3}))
        << members << " ranks a group";
  EXPECT_EQ(in_groups_of(1, [](const Communicator& group) { return device_of_rank(group, 2); }),
            (std::vector{0, 1, 0, 1}));
  // Each rank is shown a GPU of its own.
  EXPECT_EQ(in_groups_of(2, [](const Communicator& group) { return device_of_rank(group, 1); }),
            (std::vector{0, 0, 0, 0}));
  // Negative control: the place within the group.
  const auto by_group = [](const Communicator& group) { return choose_device(group.local_rank(), 4); };
  EXPECT_EQ(in_groups_of(1, by_group), (std::vector{0, 0, 0, 0}));
  EXPECT_EQ(in_groups_of(2, by_group), (std::vector{0, 1, 0, 1}));
}

// Leaves LibTorch's settings as they were.
struct Arithmetic : testing::Test {
  ~Arithmetic() override {
    context.setDeterministicAlgorithms(false, /*warn_only=*/false);
    context.setDeterministicFillUninitializedMemory(true);
  }
  at::Context& context = at::globalContext();
  static bool new_memory_is_filled() { return at::isnan(at::empty({1000})).all().item<bool>(); }
};

TEST_F(Arithmetic, ElasticIsDeterministicWithoutFillingNewMemory) {
  context.setDeterministicAlgorithms(true, /*warn_only=*/true);
  EXPECT_TRUE(new_memory_is_filled()) << "control: LibTorch fills it unless told otherwise";
  set_arithmetic(config({"dist.reduction=elastic"}));
  EXPECT_FALSE(context.userEnabledFlashSDP() || context.userEnabledMemEfficientSDP() || context.userEnabledCuDNNSDP());
  EXPECT_TRUE(context.deterministicAlgorithms());
  EXPECT_TRUE(context.deterministicCuDNN());
  EXPECT_FALSE(context.deterministicFillUninitializedMemory());
}

TEST_F(Arithmetic, FastIsFree) {
  set_arithmetic(config({"dist.reduction=fast"}));
  EXPECT_TRUE(context.userEnabledFlashSDP() && context.userEnabledMemEfficientSDP());
  EXPECT_FALSE(context.deterministicAlgorithms());
  EXPECT_FALSE(context.deterministicCuDNN());
  EXPECT_TRUE(context.benchmarkCuDNN());
  EXPECT_FALSE(context.allowTF32CuDNN());
}

TEST(Placement, RanksOnOneGpuAreNoticed) {
  const auto ids = [](const std::vector<std::uint8_t>& bytes) { return at::tensor(bytes, at::kByte).view({-1, 2}); };
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
