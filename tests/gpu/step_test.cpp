// The training step on a GPU: captured against eager, a GPU against the CPU, and checkpoints that go from one to the
// other. Each is asked of the CPU in the GPU's place as well; what that leaves is skipped where there is no GPU.
#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <csignal>
#include <string>
#include <tuple>
#include <vector>

#include "cli/small_run.h"
#include "data/make_data.h"
#include "dist/cuda_module.h"
#include "gpu/device_run.h"

namespace spankey::step_test {
namespace {

using test::DeviceRun, test::Flow, test::Trained;

// Eleven steps an epoch, the last of them of 5 samples instead of 8: two whole epochs.
constexpr std::int64_t steps = 22;

Trained train(const Config& config, Flow flow, std::int64_t count = steps) {
  DeviceRun run(config, flow);
  run.take(count);
  return run.finish();
}

struct Network {
  const char* name;
  bool on_a_cpu;  // small enough to be trained there as well
  std::vector<std::string> overrides;
};

const Network networks[] = {
    {"small_cnn", true, {"data.augment=affine", "key.layers=[0, 2]", "deny.mode=B"}},
    {"batch_rescale", true, {"key.rescale=batch", "key.layers=[0, 1]", "deny.mode=A", "deny.on=[\"wrong\", \"none\"]"}},
    {"drawn_labels", true, {"key.layers=[0, 2]", "deny.mode=BS"}},
    {"uniform", true, {"key.layers=[0, 2]", "deny.mode=BU", "deny.feature_weight=0.5"}},
    {"sgd_clipped", true, {"optim.name=sgd", "optim.lr=0.05", "optim.nesterov=true", "optim.clip_norm=0.5"}},
    {"averaged", true, {"key.layers=[0, 2]", "deny.mode=B", "train.label_smoothing=0.1", "train.ema_decay=0.9"}},
    {"mlp", true, {"model.name=mlp", "data.file=builtin:argmax", "deny.mode=C", "key.m=4", "key.layers=[0]"}},
    {"small_resnet", false, {"model.name=small_resnet", "key.layers=[0]", "deny.mode=cplus"}},
    {"resnet18",
     false,
     {"model.name=resnet18", "data.file=images", "data.augment=crop_flip", "key.layers=[0, 2, 3, 4]", "key.m=32",
      "key.layout=per_layer", "key.per_layer_key=true", "deny.mode=cplus", "optim.name=sgd"}},
    {"vit_tiny", false, {"model.name=vit_tiny", "data.file=images", "key.layers=[0, 1]", "deny.mode=B"}}};

// A file of colour images for the networks that want them, made when first asked for.
std::string images() {
  static const test::TemporaryFolder folder;
  const auto file = folder / "images.h5";
  if (!std::filesystem::exists(file)) test::make_image_data(85, 8, {3, 32, 32}, 10)->save(file);
  return file.string();
}

class StepOn : public testing::TestWithParam<std::tuple<const char*, Network>> {
 protected:
  void SetUp() override {
    const auto& [device, network] = GetParam();
    std::string why_not;
    if (device == std::string("cuda") && !open_cuda_module(why_not)) GTEST_SKIP() << why_not;
  }

  Config config(const std::string& device, const std::vector<std::string>& more = {}) const {
    std::vector<std::string> overrides{"data.limit=85",  "train.global_batch=8",   "train.drop_last=false",
                                       "train.epochs=2", "train.device=" + device, "dist.threads=1",
                                       "deny.weight=0.1"};
    for (auto word : std::get<1>(GetParam()).overrides) {
      if (word == "data.file=images") word = "data.file=" + images();
      overrides.push_back(word);
    }
    overrides.insert(overrides.end(), more.begin(), more.end());
    return parse_config("", "test", overrides);
  }
  std::string device() const { return std::get<0>(GetParam()); }
};

// The largest difference of two runs' losses, in units of 1 + |loss|.
double distance(const Trained& a, const Trained& b) {
  EXPECT_EQ(a.figures.size(), b.figures.size());
  double largest = 0.0;
  for (std::size_t i = 0; i < std::min(a.figures.size(), b.figures.size()); ++i) {
    const auto apart = [&](double StepFigures::*figure) {
      const double expected = b.figures[i].*figure;
      const double error = std::abs(a.figures[i].*figure - expected) / (1.0 + std::abs(expected));
      return std::isnan(error) ? INFINITY : error;
    };
    largest = std::max({largest, apart(&StepFigures::loss), apart(&StepFigures::ce), apart(&StepFigures::deny)});
  }
  return largest;
}

// Deterministic algorithms and one shard: the same work in the same order.
const std::vector<std::string> deterministic{"dist.reduction=elastic", "dist.shards=1"};

TEST_P(StepOn, CapturedHasTheBitsOfEager) {
  const auto eager = train(config(device(), deterministic), Flow::eager);
  const auto captured = train(config(device(), deterministic), Flow::captured);
  ASSERT_EQ(eager.figures.size(), steps);
  EXPECT_EQ(distance(captured, eager), 0.0);
  EXPECT_EQ(captured.digest, eager.digest);
  EXPECT_EQ(captured.kernels > 0, device() == "cuda");  // it has indeed been captured

  // Negative control: other random numbers are another run.
  auto other = deterministic;
  other.emplace_back("run.seed=43");
  const auto changed = train(config(device(), other), Flow::captured);
  EXPECT_GT(distance(changed, eager), 1e-3);
  EXPECT_NE(changed.digest, eager.digest);
}

// What rounding does to a loss grows from step to step, at a pace of each network's own: ResNet-18 with BatchNorm over
// 8 samples doubles it in a step. So a device is judged by float64, and may be some times as far from it as a CPU is.
TEST_P(StepOn, IsAboutAsCloseToFloat64AsACpu) {
  constexpr std::int64_t few = CapturedWork::eager_steps_before_capture + 1;
  constexpr double times = 10, least = 1e-6;  // relative, some units of float32
  const auto exact = train(config("cpu"), Flow::exact, few);
  const double of_cpu = distance(train(config("cpu"), Flow::eager, few), exact);
  EXPECT_GT(of_cpu, 0.0);
  const double most = times * std::max(of_cpu, least);
  EXPECT_LE(distance(train(config(device()), Flow::eager, few), exact), most);
  EXPECT_LE(distance(train(config(device()), Flow::captured, few), exact), most);
  // Negative control: twice the rate.
  const auto other = config("cpu", {fmt::format("optim.lr={}", 2.0 * config("cpu").optim.lr)});
  EXPECT_GT(distance(train(other, Flow::eager, few), exact), most);
}

TEST_P(StepOn, ACapturedStepNeverMakesTheHostWait) {
  if (device() == "cpu") GTEST_SKIP() << "the host has nobody to wait for";
  const auto waits = [&](Flow flow) {
    DeviceRun run(config(device()), flow);
    run.take(5);
    return host_waits(run.placement(), [&] { run.take(4); });
  };
  EXPECT_EQ(waits(Flow::captured), 0);
  EXPECT_GE(waits(Flow::eager), 4);  // the control: it reads its loss after every step
}

std::vector<Network> networks_of_a_cpu() {
  std::vector<Network> small;
  std::copy_if(std::begin(networks), std::end(networks), std::back_inserter(small),
               [](const Network& network) { return network.on_a_cpu; });
  return small;
}

std::string name_of(const testing::TestParamInfo<StepOn::ParamType>& instance) {
  return std::get<1>(instance.param).name;
}

INSTANTIATE_TEST_SUITE_P(Cpu, StepOn, testing::Combine(testing::Values("cpu"), testing::ValuesIn(networks_of_a_cpu())),
                         name_of);
INSTANTIATE_TEST_SUITE_P(Gpu, StepOn, testing::Combine(testing::Values("cuda"), testing::ValuesIn(networks)), name_of);

}  // namespace
}  // namespace spankey::step_test

namespace spankey::test::step_test {
namespace {

class Interchange : public SmallRun, public testing::WithParamInterface<const char*> {};

double loss_of(const nlohmann::json& line) {
  return line.value("loss", 0.0);
}

// Killed again and again, a run goes on from its checkpoint, now on the one and now on the other device.
TEST_P(Interchange, AKilledRunGoesOnOnTheOtherDevice) {
  std::string why_not;
  const std::string other = GetParam();
  if (other == "cuda" && !open_cuda_module(why_not)) GTEST_SKIP() << why_not;
  expect_success(train(1, "undisturbed", {"train.device=cpu"}));
  EXPECT_GT(kill_thrice("killed",
                        [&](int attempt) {
                          return train(1, "killed", {"train.device=" + (attempt % 2 == 0 ? other : "cpu")});
                        }),
            0);
  expect_success(train(1, "killed", {"train.device=" + other}));

  const auto expected = metrics("undisturbed"), got = metrics("killed");
  ASSERT_EQ(got.size(), expected.size());
  for (std::size_t i = 0; i < got.size(); ++i) {
    EXPECT_EQ(got[i]["global_step"], expected[i]["global_step"]);
    EXPECT_NEAR(loss_of(got[i]), loss_of(expected[i]), 1e-3) << "line " << i;
  }
  if (other == "cpu") {
    EXPECT_EQ(result("killed")["weights_sha256"], result("undisturbed")["weights_sha256"]);
  }
}

INSTANTIATE_TEST_SUITE_P(Devices, Interchange, testing::Values("cpu", "cuda"),
                         [](const auto& instance) { return std::string(instance.param); });

}  // namespace
}  // namespace spankey::test::step_test
