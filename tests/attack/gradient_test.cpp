// What K5, K6 and K7 follow: gradients of their losses by keys and multipliers, against central differences in float64,
// on every network and for every way that a key enters.
#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <cmath>

#include "config/names.h"
#include "toy_run.h"

namespace spankey::gradient_test {
namespace {

constexpr double step = 1e-6;

// Noise of the shape that the large networks take, with the classes 0, 1, 2.
std::shared_ptr<const Dataset> colour_noise() {
  SplitContent content;
  content.images.resize(3 * 3 * 32 * 32);
  const Stream noise({.seed = 21, .purpose = Purpose::test});
  for (std::size_t i = 0; i < content.images.size(); ++i)
    content.images[i] = static_cast<std::uint8_t>(noise.below(i, 256));
  content.labels = {0, 1, 2};
  return Dataset::in_memory({.sample_shape = {3, 32, 32},
                             .class_names = {"a", "b", "c"},
                             .source = "test",
                             .train = content,
                             .test = content});
}

Experiment experiment_of(const std::string& config) {
  if (config.find("resnet18") == std::string::npos && config.find("vit_tiny") == std::string::npos)
    return test::untrained(config);
  at::set_num_threads(1);
  return make_experiment(parse_config(config, "test"), {}, colour_noise());
}

at::Tensor draw(std::uint64_t sample, std::int64_t width) {
  at::Tensor values = at::empty({1, width}, at::kFloat);
  Stream({.seed = 8, .purpose = Purpose::test, .sample = sample})
      .fill_normal({values.mutable_data_ptr<float>(), static_cast<std::size_t>(width)});
  return values.to(at::kDouble);
}

using Keys = std::vector<at::Tensor>;

struct Problem {
  Experiment experiment;
  Images images;
  bool multipliers;  // of_multipliers() in place of keys, as K7 has them

  // Both losses in one: with labels (K5, K7) and without (K6).
  at::Tensor loss(const Keys& keys) const {
    const auto& key = experiment.config.key;
    const auto injection = multipliers ? Injection::of_multipliers(key.layers, keys)
                                       : Injection::of_keys(key.layers, keys, injection_kind(experiment.config));
    const auto output = experiment.model->forward(images.x, injection);
    const auto reject = experiment.deny->reject;
    return shipped_loss(output, images.labels, reject) + 0.7 * confidence_loss(output, reject);
  }
};

Problem problem_of(const std::string& config, bool multipliers) {
  Problem problem{experiment_of(config), {}, multipliers};
  auto& model = *problem.experiment.model;
  model.to(at::kDouble);
  model.eval();
  for (const auto& parameter : model.parameters()) parameter.requires_grad_(false);
  const auto& dataset = *problem.experiment.dataset;
  const std::vector<std::int64_t> some{1, 2};
  Assembler(dataset, dataset.train(), Augment::none, 0, Purpose::eval_augment)(some, 0, problem.images.x,
                                                                               problem.images.labels);
  problem.images.x = problem.images.x.to(at::kDouble);
  return problem;
}

// (loss(keys + step direction) - loss(keys - step direction)) / (2 step)
double difference(const Problem& problem, const Keys& keys, const Keys& direction) {
  const auto moved = [&](double by) {
    Keys all;
    for (std::size_t layer = 0; layer < keys.size(); ++layer) all.push_back(keys[layer] + by * direction[layer]);
    return problem.loss(all).item<double>();
  };
  return (moved(step) - moved(-step)) / (2 * step);
}

// Along a random direction of all layers together, which sees every element, and at a few elements of the last layer.
void check_gradient(const std::string& config, bool multipliers, int elements) {
  const auto problem = problem_of(config, multipliers);
  const auto& widths = problem.experiment.key_dims;
  Keys keys, signs;
  for (std::size_t layer = 0; layer < widths.size(); ++layer) {
    keys.push_back((draw(layer, widths[layer]) * 0.3 + (multipliers ? 1.0 : 0.0)).requires_grad_(true));
    signs.push_back(draw(100 + layer, widths[layer]).sign());
  }
  const auto gradients = torch::autograd::grad({problem.loss(keys)}, keys);
  const at::NoGradGuard no_grad;
  double along = 0.0, norm = 0.0;
  for (std::size_t layer = 0; layer < widths.size(); ++layer) {
    along += (gradients[layer] * signs[layer]).sum().item<double>();
    norm += gradients[layer].square().sum().item<double>();
    ASSERT_GT(gradients[layer].abs().max().item<double>(), 0.0) << config;
  }
  norm = std::sqrt(norm);
  EXPECT_NEAR(difference(problem, keys, signs), along, 1e-4 * norm) << config;
  const auto last = widths.size() - 1;
  const double scale = gradients[last].abs().max().item<double>();
  for (int trial = 0; trial < elements; ++trial) {
    const std::int64_t i = (trial * 7919 + 11) % widths[last];
    Keys one;
    for (const auto& key : keys) one.push_back(at::zeros_like(key));
    one[last][0][i] = 1.0;
    EXPECT_NEAR(gradients[last][0][i].item<double>(), difference(problem, keys, one), 1e-5 * scale + 1e-9)
        << config << " element " << i;
  }
}

struct Network {
  const char* config;
  int elements;
};

const std::vector<Network> networks{
    {"[data]\nfile='builtin:argmax'\n[model]\nname='mlp'\n[deny]\nmode='B'\n[key]\nlayers=[0,1]\nm=4\n", 10},
    {"[model]\nname='small_cnn'\n[deny]\nmode='B'\n[key]\nlayers=[0,2]\n", 10},
    {"[model]\nname='small_resnet'\n[deny]\nmode='B_aux'\n[key]\nlayers=[0,3]\n", 3},
    {"[train]\nglobal_batch=3\n[model]\nname='resnet18'\n[deny]\nmode='B'\n[key]\nlayers=[0,4]\n", 0},
    {"[train]\nglobal_batch=3\n[model]\nname='vit_tiny'\n[deny]\nmode='B'\n[key]\nlayers=[0,1]\n", 0},
};

TEST(Gradient, OfKeysOnEveryNetworkInEveryWayTheyEnter) {
  for (const auto& network : networks)
    for (const char* law :
         {"inject='add'\n", "multiplier='clamp'\n", "multiplier='exp'\n", "multiplier='sym'\n", "multiplier='sign'\n"})
      check_gradient(std::string(network.config) + law, /*multipliers=*/false, network.elements);
}

TEST(Gradient, OfKeysThatAlsoMoveFeatures) {
  check_gradient("[model]\nname='small_cnn'\n[deny]\nmode='B'\n[key]\nlayers=[0,2]\nbasis='cone'\npermute=[2]\n", false,
                 5);
}

TEST(Gradient, OfMultipliersOnEveryNetwork) {
  for (const auto& network : networks) check_gradient(network.config, /*multipliers=*/true, network.elements);
}

TEST(Gradient, TheListHasEveryNetwork) {
  for (const auto name : registry_names::networks)
    EXPECT_TRUE(std::any_of(networks.begin(), networks.end(), [&](const Network& network) {
      return std::string(network.config).find(fmt::format("name='{}'", name)) != std::string::npos;
    })) << name;
}

// Control: a gradient of another key is seen.
TEST(Gradient, TheDifferenceTellsAWrongGradient) {
  const auto problem = problem_of(networks[0].config, false);
  const auto& widths = problem.experiment.key_dims;
  Keys keys, others, signs;
  for (std::size_t layer = 0; layer < widths.size(); ++layer) {
    keys.push_back(draw(layer, widths[layer]) * 0.3);
    others.push_back((draw(50 + layer, widths[layer]) * 0.3).requires_grad_(true));
    signs.push_back(draw(100 + layer, widths[layer]).sign());
  }
  const auto wrong = torch::autograd::grad({problem.loss(others)}, others);
  double along = 0.0, norm = 0.0;
  for (std::size_t layer = 0; layer < widths.size(); ++layer) {
    along += (wrong[layer] * signs[layer]).sum().item<double>();
    norm += wrong[layer].square().sum().item<double>();
  }
  EXPECT_GT(std::abs(difference(problem, keys, signs) - along), 1e-2 * std::sqrt(norm));
}

}  // namespace
}  // namespace spankey::gradient_test
