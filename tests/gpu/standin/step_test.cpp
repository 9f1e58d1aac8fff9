// Captured training steps of every network under every deny loss, on LibTorch's CUDA code and the stand-in: which rules
// of the CUDA runtime they break (none), whether the host waits (never), how many kernels and how much memory they
// take. The mutants show that each would be noticed. No kernel runs, so that nothing is said of numbers or time.
#include <ATen/ATen.h>
#include <ATen/Context.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <c10/util/Exception.h>
#include <cuda_runtime_api.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "gpu/device_run.h"
#include "gpu/standin/networks.h"
#include "gpu/standin/standin.h"

namespace spankey::standin_step_test {
namespace {

using test::DeviceRun, test::Flow, test::Network, test::config_of, test::networks;
using testing::Contains, testing::HasSubstr, testing::IsEmpty;

constexpr int steps_to_capture = CapturedWork::eager_steps_before_capture + 1;

const Network& network(std::string_view name) {
  return *std::find_if(std::begin(networks), std::end(networks), [&](const auto& n) { return n.name == name; });
}

// The stand-in does not know cuDNN's attention, which LibTorch would take for vit_tiny in bfloat16: the next best takes
// its place. What cuDNN would do is not tried anywhere.
void leave_out_cudnn_attention() {
  at::globalContext().setSDPUseCuDNN(false);
}

class Standin : public testing::Test {
 protected:
  void SetUp() override { standin::restart(); }
};

class StandinStep : public Standin, public testing::WithParamInterface<std::tuple<Network, std::string_view>> {};

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

TEST_F(Standin, AStepTakesNoMoreKernelsThanItsNetworkMay) {
  for (const auto& network : networks) {
    DeviceRun run(config_of(network, {"deny.mode=cplus", "train.precision=bf16"}), Flow::captured);
    leave_out_cudnn_attention();
    run.take(steps_to_capture);
    std::printf("kernels of a step: %s %lld, at most %lld\n", network.name, static_cast<long long>(run.kernels()),
                static_cast<long long>(network.most_kernels));
    EXPECT_LE(run.kernels(), network.most_kernels) << network.name;
  }
}

// A graph is captured anew where there is a deny loss after steps without one, and the other way round.
TEST_F(Standin, FourRecapturesTakeHardlyMoreMemoryThanOne) {
  DeviceRun run(config_of(network("resnet18"), {"deny.mode=cplus", "train.precision=bf16"}), Flow::captured);
  std::int64_t first_peak = 0;
  for (int capture = 0; capture <= 4; ++capture) {
    run.config().deny.weight = capture % 2 == 0 ? 0.1 : 0.0;
    run.take(steps_to_capture + 1);
    if (capture == 0) first_peak = standin::counts().peak_bytes;
  }
  const auto last_peak = standin::counts().peak_bytes;
  std::printf("peak of memory: %lld MiB after one capture, %lld MiB after five\n",
              static_cast<long long>(first_peak >> 20), static_cast<long long>(last_peak >> 20));
  EXPECT_GT(first_peak, 0);
  EXPECT_LE(static_cast<double>(last_peak), 1.2 * static_cast<double>(first_peak));
  EXPECT_THAT(standin::violations(), IsEmpty());
}

// The control: an eager step waits for its losses.
TEST_F(Standin, ControlAnEagerStepMakesTheHostWait) {
  DeviceRun run(config_of(network("small_cnn"), {"deny.mode=B"}), Flow::eager);
  run.take(1);
  const auto before = standin::counts();
  run.take(2);
  EXPECT_GE(standin::counts().host_waits - before.host_waits, 2);
  EXPECT_GT(standin::counts().launches, before.launches);
}

// LibTorch's own copies would refuse before they get to CUDA.
TEST_F(Standin, MutantAPageableCopyInAStepIsNoticed) {
  const std::vector<float> pageable(1);
  const auto config = config_of(network("small_cnn"), {"deny.mode=B"});
  DeviceRun run(config, Flow::captured, [&](ResidentSource source) {
    source.assemble = [&, assemble = source.assemble](const at::Tensor& samples, const at::Tensor& position) {
      auto batch = assemble(samples, position);
      const auto stream = c10::impl::VirtualGuardImpl(at::kCUDA).getStream(batch.first.device());
      cudaMemcpyAsync(batch.first.mutable_data_ptr(), pageable.data(), sizeof(float), cudaMemcpyHostToDevice,
                      static_cast<cudaStream_t>(stream.native_handle()));
      return batch;
    };
    return source;
  });
  run.take(steps_to_capture - 1);
  EXPECT_THAT(standin::violations(), IsEmpty());
  EXPECT_THROW(run.take(1), c10::Error);
  EXPECT_THAT(standin::violations(), Contains(HasSubstr("pageable memory in a capture")));
}

TEST_F(Standin, MutantAStepThatReadsANumberIsNoticed) {
  const auto config = config_of(network("small_cnn"), {"deny.mode=B"});
  DeviceRun run(config, Flow::captured, [](ResidentSource source) {
    source.assemble = [assemble = source.assemble](const at::Tensor& samples, const at::Tensor& position) {
      static_cast<void>(position[0].item<std::int64_t>());
      return assemble(samples, position);
    };
    return source;
  });
  EXPECT_THROW(run.take(steps_to_capture), c10::Error);
  EXPECT_THAT(standin::violations(), Contains(HasSubstr("capture")));
}

TEST_F(Standin, ALaunchThatIsTooLargeIsNoticed) {
  const auto most = cudaLaunchKernel(nullptr, dim3(1, 65535), dim3(1024), nullptr, 0, nullptr);
  EXPECT_EQ(most, cudaSuccess);
  EXPECT_THAT(standin::violations(), IsEmpty());
  EXPECT_EQ(cudaLaunchKernel(nullptr, dim3(1, 65536), dim3(1024), nullptr, 0, nullptr), cudaErrorInvalidConfiguration);
  EXPECT_EQ(cudaLaunchKernel(nullptr, dim3(1), dim3(1025), nullptr, 0, nullptr), cudaErrorInvalidConfiguration);
  EXPECT_EQ(standin::violations().size(), 2U);
  EXPECT_EQ(cudaGetLastError(), cudaErrorInvalidConfiguration);  // and is forgotten
}

TEST_F(Standin, TheHostCannotTouchDeviceMemory) {
  DeviceRun run(config_of(network("mlp"), {}), Flow::eager);
  const auto tensor = at::tensor({1.0F, 2.0F}).to(run.placement().device);
  EXPECT_TRUE(at::equal(tensor.to(at::kCPU), at::zeros({2})));
  EXPECT_EXIT(static_cast<void>(*static_cast<const volatile float*>(tensor.const_data_ptr())),
              testing::KilledBySignal(SIGSEGV), "");
}

}  // namespace
}  // namespace spankey::standin_step_test
