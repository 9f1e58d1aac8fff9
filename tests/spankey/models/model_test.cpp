#include "spankey/models/model.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/function.h>

#include <cmath>
#include <map>

#include "spankey/deny/access.h"
#include "spankey/keys/key_maker.h"
#include "spankey/models/registry.h"
#include "support/expect_error.h"

namespace spankey::model_test {
namespace {

using testing::AllOf, testing::HasSubstr;

std::vector<std::int64_t> sample_shape_for(const std::string& name) {
  if (name == "mlp") return {20};
  if (name == "resnet18" || name == "vit_tiny") return {3, 32, 32};
  return {1, 28, 28};
}

ModelOptions options_for(const std::string& name, bool reject_class = false, bool reject_head = false) {
  return {
      .sample_shape = sample_shape_for(name), .classes = 10, .reject_class = reject_class, .reject_head = reject_head};
}

at::Tensor batch_for(const std::string& name, std::int64_t n) {
  at::set_num_threads(1);  // where other work wants the cores a second thread is waited for
  std::vector<std::int64_t> shape = options_for(name).sample_shape;
  shape.insert(shape.begin(), n);
  return at::randn(shape);
}

TEST(Model, RegistryNamesWhatItDoesNotKnow) {
  EXPECT_EQ(model_names(), (std::vector<std::string>{"mlp", "small_cnn", "small_resnet", "resnet18", "vit_tiny"}));
  EXPECT_NE(make_model("Small_CNN", options_for("small_cnn")), nullptr);
  EXPECT_ERROR(make_model("resnet9000", options_for("mlp")), ExitCode::bad_input,
               AllOf(HasSubstr("resnet9000"), HasSubstr("small_cnn")));
  EXPECT_ERROR(make_model("mlp", options_for("small_cnn")), ExitCode::bad_input,
               AllOf(HasSubstr("mlp"), HasSubstr("1, 28, 28")));
  for (const std::string& name : model_names()) {
    ModelOptions other = options_for(name);
    other.sample_shape = {2, 17};
    EXPECT_ERROR(make_model(name, other), ExitCode::bad_input, AllOf(HasSubstr(name), HasSubstr("2, 17")));
  }
}

TEST(Model, InjectionPointsAndOutputsHaveTheDeclaredShapes) {
  for (const std::string& name : model_names()) {
    for (const bool reject : {false, true}) {
      const auto model = make_model(name, options_for(name, reject, reject));
      const auto points = model->injection_points();
      std::vector<std::int64_t> seen;
      const Injection observed =
          Injection::none().observed([&](std::int64_t point, const at::Tensor& before, const at::Tensor&) {
            seen.push_back(point);
            EXPECT_EQ(before.sizes().slice(1).vec(), points.at(static_cast<std::size_t>(point)).shape);
          });
      const Output output = model->forward(batch_for(name, 3), observed);
      EXPECT_EQ(seen.size(), points.size());
      EXPECT_EQ(output.logits.sizes(), (std::vector<std::int64_t>{3, reject ? 11 : 10}));
      EXPECT_EQ(output.features.size(0), 3);
      EXPECT_EQ(output.reject.defined(), reject);
      if (reject) {
        EXPECT_EQ(output.reject.sizes(), (std::vector<std::int64_t>{3}));
      }
    }
  }
}

TEST(Model, InitialWeightsAreUniformOnTheirBoundsAndAFunctionOfTheSeed) {
  const auto model = make_model("small_cnn", options_for("small_cnn")),
             again = make_model("small_cnn", options_for("small_cnn"));
  initialise(*model, 5);
  initialise(*again, 5);
  const std::map<std::string, double> fan_in = {{"conv1", 9}, {"conv2", 144}, {"fc", 1568}};
  for (const auto& p : model->named_parameters()) {
    EXPECT_TRUE(p.value().equal(again->named_parameters()[p.key()])) << p.key();
    const double bound = 1 / std::sqrt(fan_in.at(p.key().substr(0, p.key().find('.'))));
    const at::Tensor v = p.value().detach().to(at::kDouble);
    EXPECT_LE(v.abs().max().item<double>(), bound) << p.key();
    EXPECT_GE(v.abs().max().item<double>(), 0.5 * bound) << p.key();
    const auto n = static_cast<double>(v.numel());
    EXPECT_NEAR(v.mean().item<double>(), 0, 5 * bound / std::sqrt(3 * n)) << p.key();
    EXPECT_NEAR(v.square().mean().item<double>(), bound * bound / 3, 5 * 0.3 * bound * bound / std::sqrt(n)) << p.key();
  }
  initialise(*again, 6);
  EXPECT_FALSE(model->parameters()[0].equal(again->parameters()[0]));
}

// Standard deviation 0 stands for a constant, here the expected mean.
struct Expected {
  double mean, deviation;
  bool uniform = false;
};

void expect_drawn(const at::Tensor& value, const Expected& expected, const std::string& name) {
  const at::Tensor v = value.detach().to(at::kDouble);
  const auto n = static_cast<double>(v.numel());
  if (expected.deviation == 0) {
    EXPECT_TRUE(v.eq(expected.mean).all().item<bool>()) << name;
    return;
  }
  const double kurtosis = expected.uniform ? 1.8 : 3.0;
  EXPECT_NEAR(v.mean().item<double>(), expected.mean, 5 * expected.deviation / std::sqrt(n)) << name;
  EXPECT_NEAR(v.square().mean().item<double>() / (expected.deviation * expected.deviation), 1,
              5 * std::sqrt((kurtosis - 1) / n))
      << name;
  EXPECT_EQ(v.abs().max().item<double>() <= std::sqrt(3.0) * expected.deviation * (1 + 1e-6), expected.uniform) << name;
}

TEST(Model, ResidualNetworksAndTheTransformerStartLikeTheReferences) {
  const std::map<std::string, std::map<std::string, Expected>> cases = {
      {"small_resnet",
       {{"stem.0.weight", {0, 1 / std::sqrt(3 * 9.0), true}},
        {"stem.1.weight", {1, 0}},
        {"layer2.0.down.0.weight", {0, 1 / std::sqrt(3 * 32.0), true}},
        {"layer3.1.bn2.bias", {0, 0}},
        {"head.weight", {0, 1 / std::sqrt(3 * 128.0), true}}}},
      {"resnet18",
       {{"conv1.weight", {0, std::sqrt(2 / (64 * 9.0))}},
        {"layer3.0.downsample.0.weight", {0, std::sqrt(2 / 256.0)}},
        {"layer4.1.conv2.weight", {0, std::sqrt(2 / (512 * 9.0))}},
        {"layer4.1.bn2.weight", {1, 0}},
        {"layer4.1.bn2.bias", {0, 0}},
        {"fc.weight", {0, 1 / std::sqrt(3 * 512.0), true}}}},
      {"vit_tiny",
       {{"cls_token", {0, 1e-6}},
        {"pos_embed", {0, 0.02}},
        {"patch_embed.proj.weight", {0, 1 / std::sqrt(3 * 48.0), true}},
        {"patch_embed.proj.bias", {0, 1 / std::sqrt(3 * 48.0), true}},
        {"blocks.7.attn.qkv.weight", {0, 0.02}},
        {"blocks.7.attn.qkv.bias", {0, 0}},
        {"blocks.0.norm1.weight", {1, 0}},
        {"norm.bias", {0, 0}},
        {"head.weight", {0, 0.02}},
        {"head.bias", {0, 0}}}}};
  for (const auto& [name, parameters] : cases) {
    const auto model = make_model(name, options_for(name));
    initialise(*model, 9);
    const auto values = model->named_parameters();
    for (const auto& [parameter, expected] : parameters) expect_drawn(values[parameter], expected, name + parameter);
  }
}

// gamma = 0: no key, correct key and wrong key are the same function, bit by bit.
TEST(Model, WithoutInjectionStrengthEveryKeyIsNoKey) {
  for (const std::string& name : model_names()) {
    const auto model = make_model(name, options_for(name));
    initialise(*model, 1);
    const auto points = model->injection_points();
    KeyConfig key;
    key.layers.clear();
    std::vector<std::int64_t> dims;
    for (const InjectionPoint& point : points) {
      key.layers.push_back(static_cast<std::int64_t>(dims.size()));
      dims.push_back(point.size());
    }
    model->eval();
    const at::Tensor x = batch_for(name, 4);
    for (const double gamma : {0.0, 0.5}) {
      key.gamma = gamma;
      const KeyMaker keys(key, Compat::honest, make_basis(key, dims, 1), 1);
      const at::Tensor none = model->forward(x, Injection::none()).logits;
      EXPECT_EQ(none.equal(model->forward(x, keys.evaluation_correct(0, 4)).logits), gamma == 0);
      EXPECT_EQ(none.equal(model->forward(x, keys.evaluation_wrong(0, 4)).logits), gamma == 0);
    }
  }
}

TEST(Model, PassesStackedIntoOneBatchGiveWhatSeparatePassesGive) {
  for (const std::string& name : model_names()) {
    const auto model = make_model(name, options_for(name, true));
    EXPECT_EQ(model->couples_samples(), name.find("resnet") != std::string::npos);
    if (model->couples_samples()) continue;
    initialise(*model, 1);
    const std::int64_t d = model->injection_points()[0].size();
    const InjectionKind kind;
    const Injection a = Injection::of_keys({0}, {at::randn({6, d})}, kind),
                    b = Injection::of_keys({0}, {at::randn({1, d})}, kind);
    const at::Tensor x = batch_for(name, 6);
    const at::Tensor both = model->forward(at::cat({x, x}), Injection::stack({{a, 6}, {b, 6}})).logits;
    EXPECT_TRUE(at::allclose(both.narrow(0, 0, 6), model->forward(x, a).logits, 1e-5, 1e-6));
    EXPECT_TRUE(at::allclose(both.narrow(0, 6, 6), model->forward(x, b).logits, 1e-5, 1e-6));
    EXPECT_FALSE(at::allclose(both.narrow(0, 0, 6), both.narrow(0, 6, 6), 1e-5, 1e-6));
  }
}

// Outputs and the gradients of a loss of both of them, of the input's key and of all parameters.
std::vector<at::Tensor> outputs_and_gradients(Model& model, const at::Tensor& x, const at::Tensor& key, bool composed) {
  const at::Tensor hidden_key = at::zeros({1, 64}, key.options());
  const auto layers = composed ? std::vector<std::int64_t>{0, 1} : std::vector<std::int64_t>{0};
  const auto keys = composed ? std::vector<at::Tensor>{key, hidden_key} : std::vector<at::Tensor>{key};
  const Output output = model.forward(x, Injection::of_keys(layers, keys, {.inject = Inject::add, .gamma = 0.7}));
  at::Tensor loss = output.logits.square().sum() + output.features.pow(3).sum();
  std::vector<at::Tensor> result = {output.logits, output.features};
  if (output.reject.defined()) {
    result.push_back(output.reject);
    loss = loss + output.reject.square().sum();
  }
  std::vector<at::Tensor> inputs = model.parameters();
  if (key.requires_grad()) inputs.push_back(key);
  for (const at::Tensor& gradient : torch::autograd::grad({loss}, inputs)) result.push_back(gradient);
  return result;
}

TEST(Model, TheFusedMlpEqualsTheComposedOne) {
  at::manual_seed(8);
  const at::Tensor x = batch_for("mlp", 9);
  const at::Tensor no_key = at::zeros({1, 20}), shared = at::randn({1, 20}), searched = at::randn({9, 20});
  searched.requires_grad_();
  for (const bool reject_class : {false, true}) {
    for (const bool reject_head : {false, true}) {
      const auto model = make_model("mlp", options_for("mlp", reject_class, reject_head));
      initialise(*model, 2);
      for (const at::Tensor& key : {no_key, shared, searched}) {
        const auto fused = outputs_and_gradients(*model, x, key, false);
        const auto composed = outputs_and_gradients(*model, x, key, true);
        ASSERT_EQ(fused.size(), composed.size());
        EXPECT_NE(fused[0].grad_fn()->name(), composed[0].grad_fn()->name());
        EXPECT_TRUE(fused[0].equal(composed[0]));
        for (std::size_t i = 0; i < fused.size(); ++i)
          EXPECT_TRUE(at::allclose(fused[i], composed[i], 1e-4, 1e-5)) << i;
      }
    }
  }
}

TEST(Model, TheFusedMlpLeavesOutWhatNoLossNeeds) {
  const auto model = make_model("mlp", options_for("mlp"));
  initialise(*model, 2);
  const at::Tensor x = batch_for("mlp", 5);
  model->forward(x, Injection::none()).features.sum().backward();
  const auto parameters = model->named_parameters();
  EXPECT_FALSE(parameters["net.4.weight"].grad().defined());
  EXPECT_TRUE(parameters["net.0.weight"].grad().defined());
}

TEST(Model, AStepRepeatsBitByBit) {
  for (const std::string& name : model_names()) {
    const at::Tensor x = batch_for(name, 8), y = at::arange(8, at::kLong);
    std::vector<at::Tensor> first;
    for (int round = 0; round < 2; ++round) {
      const auto model = make_model(name, options_for(name));
      initialise(*model, 3);
      at::cross_entropy_loss(model->forward(x, Injection::none()).logits, y).backward();
      for (std::size_t i = 0; i < model->parameters().size(); ++i) {
        const at::Tensor g = model->parameters()[i].grad().clone();
        if (round == 0) first.push_back(g);
        EXPECT_TRUE(g.equal(first[i])) << name << i;
      }
    }
  }
}

TEST(Access, CountsAgreeWithAPlainLoop) {
  at::manual_seed(4);
  const at::Tensor y = at::randint(4, {200}, at::kLong);
  for (const RejectKind reject : {RejectKind::none, RejectKind::reject_class, RejectKind::reject_head}) {
    const std::int64_t columns = reject == RejectKind::reject_class ? 5 : 4;
    const Output output{at::randn({200, columns}), {}, at::randn({200})};
    AccessCounts expected;
    for (std::int64_t i = 0; i < 200; ++i) {
      std::int64_t best = 0, best_class = 0;
      const auto z = [&](std::int64_t c) { return output.logits[i][c].item<float>(); };
      for (std::int64_t c = 1; c < columns; ++c) {
        if (z(c) > z(best)) best = c;
        if (c < 4 && z(c) > z(best_class)) best_class = c;
      }
      const auto label = y[i].item<std::int64_t>();
      const double p = 1 / (1 + std::exp(-output.reject[i].item<double>()));
      const bool rejected =
          reject == RejectKind::reject_class ? best == 4 : reject == RejectKind::reject_head && p > 0.5;
      expected += {1, best == label && !rejected, best_class == label, rejected};
    }
    AccessCounts counts =
        count_access({output.logits.narrow(0, 0, 90), {}, output.reject.narrow(0, 0, 90)}, y.narrow(0, 0, 90), reject);
    counts += count_access({output.logits.narrow(0, 90, 110), {}, output.reject.narrow(0, 90, 110)},
                           y.narrow(0, 90, 110), reject);
    EXPECT_EQ(counts.samples, 200);
    EXPECT_EQ(counts.correct, expected.correct);
    EXPECT_EQ(counts.strip, expected.strip);
    EXPECT_EQ(counts.rejected, expected.rejected);
  }
}

}  // namespace
}  // namespace spankey::model_test
