// Captured training steps of every network under every deny loss, on LibTorch's CUDA code and the stand-in: which rules
// of the CUDA runtime they break (none), and whether the host waits (never). No kernel runs, so that nothing is said of
// numbers or time.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "gpu/device_run.h"
#include "gpu/standin/networks.h"
#include "gpu/standin/standin.h"

namespace spankey::standin_step_test {
namespace {

using test::DeviceRun, test::Flow, test::Network, test::config_of, test::leave_out_cudnn_attention, test::networks,
    test::steps_to_capture;
using testing::IsEmpty;

class StandinStep : public testing::TestWithParam<std::tuple<Network, std::string_view>> {};

// Captures a step, and replays it without a wait and without a launch beside the graph.
void expect_captured(const Config& config) {
  standin::restart();
  DeviceRun run(config, Flow::captured);
  leave_out_cudnn_attention();
  run.take(steps_to_capture);
  EXPECT_GT(run.kernels(), 0);
  const auto before = standin::counts();
  run.take(3);
  const auto after = standin::counts();
  EXPECT_EQ(after.replays - before.replays, 3);
  EXPECT_EQ(after.launches, before.launches);
  EXPECT_EQ(after.host_waits, before.host_waits);
  run.take(6);  // the last partial batch, and the first steps of another epoch
  run.finish();
  EXPECT_THAT(standin::violations(), IsEmpty());
}

TEST_P(StandinStep, IsCapturedWithoutAViolationOrAWait) {
  const auto& [network, mode] = GetParam();
  for (const char* precision : {"float32", "bf16"})
    for (const char* reduction : {"fast", "elastic"}) {
      SCOPED_TRACE(std::string(precision) + ", " + reduction);
      expect_captured(config_of(network, {"deny.mode=" + std::string(mode), std::string("train.precision=") + precision,
                                          std::string("dist.reduction=") + reduction}));
    }
}

std::vector<std::string_view> deny_modes() {
  return {registry_names::deny_losses.begin(), registry_names::deny_losses.end()};
}

INSTANTIATE_TEST_SUITE_P(Networks, StandinStep,
                         testing::Combine(testing::ValuesIn(networks), testing::ValuesIn(deny_modes())),
                         [](const auto& instance) {
                           return std::string(std::get<0>(instance.param).name) + "_" +
                                  std::string(std::get<1>(instance.param));
                         });

}  // namespace
}  // namespace spankey::standin_step_test
