// What a captured step may take on LibTorch's CUDA code and the stand-in: kernels, and memory over captures. The
// mutants show that what breaks a rule would be noticed.
#include <ATen/ATen.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <c10/util/Exception.h>
#include <cuda_runtime_api.h>
#include <dlfcn.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "gpu/device_run.h"
#include "gpu/standin/networks.h"
#include "gpu/standin/standin.h"
#include "train/evaluator.h"

namespace spankey::standin_limits_test {
namespace {

using test::DeviceRun, test::Flow, test::config_of, test::leave_out_cudnn_attention, test::network, test::networks,
    test::steps_to_capture;
using testing::Contains, testing::HasSubstr, testing::IsEmpty;

class StandinLimits : public testing::Test {
 protected:
  void SetUp() override { standin::restart(); }
};

TEST_F(StandinLimits, AStepTakesNoMoreKernelsThanItsNetworkMay) {
  for (const auto& network : networks) {
    DeviceRun run(config_of(network, {"deny.mode=cplus", "train.precision=bf16"}), Flow::captured);
    leave_out_cudnn_attention();
    run.take(steps_to_capture);
    std::printf("kernels of a step: %s %lld, at most %lld\n", network.name, static_cast<long long>(run.kernels()),
                static_cast<long long>(network.most_kernels));
    EXPECT_LE(run.kernels(), network.most_kernels) << network.name;
  }
}

// As their kernels want them: others are rearranged in every step.
TEST_F(StandinLimits, FiltersOfConvolutionsLieInChannelsLastOrder) {
  DeviceRun run(config_of(network("resnet18"), {}), Flow::eager);
  int filters = 0;
  for (const auto& parameter : run.model().parameters()) {
    if (parameter.dim() != 4) continue;
    EXPECT_TRUE(parameter.is_contiguous(at::MemoryFormat::ChannelsLast) &&
                parameter.grad().is_contiguous(at::MemoryFormat::ChannelsLast));
    ++filters;
  }
  EXPECT_EQ(filters, 20);
}

// Fused attention adds its gradients in no fixed order.
TEST_F(StandinLimits, AttentionIsNotFusedWhereBitsArePromised) {
  const auto fused = [](const char* reduction) {
    DeviceRun run(config_of(network("vit_tiny"), {"deny.mode=B", std::string("dist.reduction=") + reduction}),
                  Flow::captured);
    leave_out_cudnn_attention();
    run.take(steps_to_capture);
    const auto kernels = standin::captured_kernels();
    return std::any_of(kernels.begin(), kernels.end(), [](const std::string& name) {
      return name.find("fmha") != std::string::npos || name.find("flash") != std::string::npos;
    });
  };
  EXPECT_FALSE(fused("elastic"));
  EXPECT_TRUE(fused("fast"));  // the control
}

// Peaks of device memory, in bytes, after one capture and after five. A graph is captured anew where there is a deny
// loss after steps without one, and the other way round.
struct Peaks {
  std::int64_t first = 0, last = 0;
};

constexpr double most_growth = 1.2;

Peaks peaks_of_recaptures(const DeviceRun::GraphMaker& graph_of) {
  standin::restart();
  DeviceRun run(config_of(network("resnet18"), {"deny.mode=cplus", "train.precision=bf16"}), Flow::captured, {},
                make_communicator(Backend::self, 60), graph_of);
  Peaks peaks;
  for (int capture = 0; capture <= 4; ++capture) {
    run.config().deny.weight = capture % 2 == 0 ? 0.1 : 0.0;
    run.take(steps_to_capture + 1);
    if (capture == 0) peaks.first = standin::counts().peak_bytes;
  }
  peaks.last = standin::counts().peak_bytes;
  std::printf("peak of memory: %lld MiB after one capture, %lld MiB after five\n",
              static_cast<long long>(peaks.first >> 20), static_cast<long long>(peaks.last >> 20));
  return peaks;
}

TEST_F(StandinLimits, FourRecapturesTakeHardlyMoreMemoryThanOne) {
  const auto peaks = peaks_of_recaptures(make_graph);
  EXPECT_GT(peaks.first, 0);
  EXPECT_LE(static_cast<double>(peaks.last), most_growth * static_cast<double>(peaks.first));
  EXPECT_THAT(standin::violations(), IsEmpty());
}

// The graph of src/dist without the line that gives the allocator's store back (CMakeLists.txt takes it out). It needs
// what the CUDA module has loaded.
std::unique_ptr<DeviceGraph> make_hoarding_graph(const Placement& placement) {
  static_cast<void>(make_graph(placement));
  void* mutant = dlopen(SPANKEY_STANDIN_FOLDER "/hoarding_graph.so", RTLD_NOW | RTLD_LOCAL);
  if (!mutant) fail_run("{}", dlerror());
  return reinterpret_cast<std::unique_ptr<DeviceGraph> (*)()>(dlsym(mutant, "_ZN7spankey15make_cuda_graphEv"))();
}

TEST_F(StandinLimits, MutantAStoreThatIsNotGivenBackIsNoticed) {
  const auto sound = peaks_of_recaptures(make_graph), mutant = peaks_of_recaptures(make_hoarding_graph);
  EXPECT_GT(static_cast<double>(mutant.last), most_growth * static_cast<double>(sound.first));
}

TEST_F(StandinLimits, AnEvaluationReadsItsCountsOnce) {
  const auto config = config_of(network("small_cnn"), {"deny.mode=B", "train.capture=auto"});
  const auto host = make_communicator(Backend::self, 60);
  const auto experiment = make_experiment(config, place(config, *host));
  const KeyMaker keys(config, make_basis(config.key, experiment.key_dims, 42));
  const Evaluator evaluator(experiment, keys, *host);
  const auto report = evaluator.evaluate(evaluator.request(/*keys=*/4, /*with_train_split=*/false));
  EXPECT_EQ(report.test.correct_key.size(), 4U);
  EXPECT_EQ(standin::counts().copies_to_host, 1);
  EXPECT_GT(standin::counts().launches, 4);
}

// The control: an eager step waits for its losses.
TEST_F(StandinLimits, ControlAnEagerStepMakesTheHostWait) {
  DeviceRun run(config_of(network("small_cnn"), {"deny.mode=B"}), Flow::eager);
  run.take(1);
  const auto before = standin::counts();
  run.take(2);
  EXPECT_GE(standin::counts().host_waits - before.host_waits, 2);
  EXPECT_GT(standin::counts().launches, before.launches);
}

// LibTorch's own copies would refuse before they get to CUDA.
TEST_F(StandinLimits, MutantAPageableCopyInAStepIsNoticed) {
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

TEST_F(StandinLimits, MutantAStepThatReadsANumberIsNoticed) {
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

TEST_F(StandinLimits, ALaunchThatIsTooLargeIsNoticed) {
  const auto most = cudaLaunchKernel(nullptr, dim3(1, 65535), dim3(1024), nullptr, 0, nullptr);
  EXPECT_EQ(most, cudaSuccess);
  EXPECT_THAT(standin::violations(), IsEmpty());
  EXPECT_EQ(cudaLaunchKernel(nullptr, dim3(1, 65536), dim3(1024), nullptr, 0, nullptr), cudaErrorInvalidConfiguration);
  EXPECT_EQ(cudaLaunchKernel(nullptr, dim3(1), dim3(1025), nullptr, 0, nullptr), cudaErrorInvalidConfiguration);
  EXPECT_EQ(standin::violations().size(), 2U);
  EXPECT_EQ(cudaGetLastError(), cudaErrorInvalidConfiguration);  // and is forgotten
}

TEST_F(StandinLimits, TheHostCannotTouchDeviceMemory) {
  DeviceRun run(config_of(network("mlp"), {}), Flow::eager);
  const auto tensor = at::tensor({1.0F, 2.0F}).to(run.placement().device);
  EXPECT_TRUE(at::equal(tensor.to(at::kCPU), at::zeros({2})));
  EXPECT_EXIT(static_cast<void>(*static_cast<const volatile float*>(tensor.const_data_ptr())),
              testing::KilledBySignal(SIGSEGV), "");
}

}  // namespace
}  // namespace spankey::standin_limits_test
