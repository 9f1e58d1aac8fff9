// Attacks that change weights: what is cut, rounded, standardised and drawn anew is what their definitions say.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "attack/attacks/batch_norm.h"
#include "attack/attacks/chosen_weights.h"
#include "attack/attacks/distil.h"
#include "attack/attacks/prune.h"
#include "attack/attacks/quantise.h"
#include "attack/attacks/standardise.h"
#include "attack/student.h"
#include "attack/weights_guard.h"
#include "spankey/models/batch_norm.h"
#include "spankey/models/layer_filter.h"
#include "spankey/models/named_tensor.h"
#include "spankey/models/registry.h"
#include "toy_run.h"

namespace spankey::weights_test {
namespace {

using test::outcome_of;

constexpr const char* resnet = "[model]\nname='small_resnet'\n[deny]\nmode='B'\n";

at::Tensor draws(std::uint64_t sample, at::IntArrayRef shape) {
  at::Tensor values = at::empty(shape, at::kFloat);
  Stream({.seed = 6, .purpose = Purpose::test, .sample = sample})
      .fill_normal({values.mutable_data_ptr<float>(), static_cast<std::size_t>(values.numel())});
  return values;
}

nlohmann::json access_of(const AttackedRun& run, const std::string& id, const Budget& budget) {
  return outcome_of(run, id, budget).at("access");
}

Budget searched(std::int64_t images, std::int64_t steps, const std::string& variant = "") {
  return {.images = images, .steps = steps, .variant = variant};
}

// Whether `work` leaves the network as it found it.
void expect_untouched(const AttackedRun& run, const std::function<void()>& work) {
  const auto before = run.weights_sha256;
  work();
  EXPECT_EQ(to_hex(weights_digest(*run.experiment.model)), before);
  for (const auto& parameter : run.experiment.model->parameters()) EXPECT_FALSE(parameter.requires_grad());
  EXPECT_FALSE(run.experiment.model->is_training());
}

TEST(Prune, CutsTheSmallestAcrossAllTensors) {
  const auto a = at::tensor({4.0F, -0.5F, 3.0F, 0.0F}).view({2, 2}), b = at::tensor({-2.0F, 0.5F, 1.0F});
  const auto a0 = a.clone(), b0 = b.clone();
  EXPECT_EQ(prune({a, b}, 0.0), 7);
  EXPECT_TRUE(at::equal(a, a0) && at::equal(b, b0));
  EXPECT_EQ(prune({a, b}, 2.0 / 7), 5);  // 0 and the earlier of two halves
  EXPECT_TRUE(at::equal(a, at::tensor({4.0F, 0.0F, 3.0F, 0.0F}).view({2, 2})));
  EXPECT_TRUE(at::equal(b, b0));
  EXPECT_EQ(prune({a, b}, 5.0 / 7), 2);
  EXPECT_TRUE(at::equal(b, at::zeros({3})));
  EXPECT_EQ(prune({a, b}, 1.0), 0);
  EXPECT_EQ(a.abs().max().item<float>(), 0.0F);
}

// Without weights the last layer answers every image with its largest bias.
TEST(Prune, OfAllWeightsOneAnswerIsLeft) {
  const auto run = test::locked_run(test::mode_b, 10);
  const auto& dataset = *run.experiment.dataset;
  const auto bias = run.experiment.model->named_parameters()["fc.bias"];
  const auto answer = bias.narrow(0, 0, 10).argmax().item<std::int64_t>();
  expect_untouched(run, [&] {
    const auto outcome = outcome_of(run, "W4", {.variant = "100 % pruned"});
    EXPECT_EQ(outcome.at("access").at("strip"), dataset.class_counts(dataset.test())[static_cast<std::size_t>(answer)]);
    EXPECT_EQ(outcome.at("detail").at("kept_weights"), 0);
    const auto whole = outcome_of(run, "W4", {.variant = "0 % pruned"});
    EXPECT_EQ(whole.at("access"), access_of(run, "O1", {}));
    // The owner sees the first keys of the evaluation.
    const auto valid = access_of(run, "R0", {.keys = 2});
    EXPECT_DOUBLE_EQ(whole.at("detail").at("owner").at("correct_key").get<double>(),
                     valid.at("correct").get<double>() / valid.at("samples").get<double>());
    EXPECT_EQ(access_of(run, "W4f", searched(20, 5, "0 % pruned")), access_of(run, "W1", searched(20, 5, "all")));
    EXPECT_NE(access_of(run, "W4f", searched(20, 5, "90 % pruned")), access_of(run, "W1", searched(20, 5, "all")));
  });
}

TEST(Quantise, RoundsToTheNearestOfSoManySteps) {
  const auto weight = draws(0, {400}).to(at::kDouble);
  const double largest = weight.abs().max().item<double>();
  EXPECT_TRUE(at::equal(rounded(weight, 32), weight));
  double before = 0.0;
  for (const int bits : {8, 6, 5, 4, 2}) {
    const double step = largest / ((1 << (bits - 1)) - 1);
    const auto error = (weight - rounded(weight, bits)).abs().max().item<double>();
    EXPECT_LE(error, step / 2 * (1 + 1e-12)) << bits;
    EXPECT_GT(error, before) << bits;
    before = error;
    const auto levels = (rounded(weight, bits) / step).round();
    EXPECT_LT((rounded(weight, bits) / step - levels).abs().max().item<double>(), 1e-9) << bits;
    EXPECT_EQ(levels.abs().max().item<double>(), (1 << (bits - 1)) - 1) << bits;
  }
  EXPECT_TRUE(at::equal(rounded(at::zeros({3}), 4), at::zeros({3})));
}

TEST(Quantise, ThirtyTwoBitsAndNoNoiseChangeNothing) {
  const auto run = test::locked_run(test::mode_b, 10);
  const auto none = access_of(run, "O1", {});
  expect_untouched(run, [&] {
    EXPECT_EQ(access_of(run, "W5", {.variant = "32 bits"}), none);
    EXPECT_NE(access_of(run, "W5", {.variant = "2 bits"}), none);
    EXPECT_EQ(access_of(run, "W5n", {.variant = "0 of RMS"}), none);
    EXPECT_NE(access_of(run, "W5n", {.variant = "1 of RMS"}), none);
    EXPECT_NE(outcome_of(run, "W5n", {.variant = "1 of RMS"}, 1), outcome_of(run, "W5n", {.variant = "1 of RMS"}, 0));
  });
}

TEST(FineTune, DrawsTheLastLayerAnew) {
  const auto run = test::locked_run(test::mode_b, 10);
  expect_untouched(run, [&] {
    const auto anew = access_of(run, "W1", searched(4, 0, "rtll"));
    EXPECT_NE(anew, access_of(run, "O1", {}));
    EXPECT_EQ(access_of(run, "W1", searched(4, 0, "rtal")), anew);
    AttackContext context(run, find_attack("W1"), 0);
    const auto drawn = context.network_drawn_anew()->named_parameters();
    EXPECT_EQ(drawn["fc.weight"].size(0), 11);
    EXPECT_LE(drawn["fc.weight"].abs().max().item<double>(), 1 / std::sqrt(1568.0));  // PyTorch's law
    const auto last = outcome_of(run, "W1", searched(4, 3, "rtll")),
               all = outcome_of(run, "W1", searched(4, 3, "rtal"));
    EXPECT_EQ(last.at("cost").at("trained_parameters"), 11 * 1568 + 11);
    EXPECT_EQ(all.at("cost").at("trained_parameters"), 16 * 9 + 16 + 32 * 16 * 9 + 32 + 11 * 1568 + 11);
  });
}

// Stolen or drawn anew, the network sees the same 32 copies of each image, of which the attacker has labelled but one.
TEST(FineTune, AugmentsForTheStolenNetworkAsForAFreshOne) {
  const auto run = test::untrained_run("[data]\naugment='affine'\n[deny]\nmode='B'\n");
  for (const char* id : {"W1", "S0"}) {
    const auto plain = outcome_of(run, id, searched(4, 1, id == std::string("W1") ? "all" : "")),
               augmented = outcome_of(run, id, searched(4, 1, "augmented"));
    EXPECT_EQ(plain.at("cost").at("backward"), 4) << id;
    EXPECT_EQ(augmented.at("cost").at("backward"), 4 * 32) << id;
    EXPECT_EQ(augmented.at("cost").at("labels"), 4) << id;
    EXPECT_NE(augmented.at("own_loss"), plain.at("own_loss")) << id;
  }
  AttackContext stolen(run, find_attack("W1"), 0), fresh(run, find_attack("S0"), 0);
  const Budget budget = searched(4, 1, "augmented");
  EXPECT_TRUE(stolen.labelled(budget).x.equal(fresh.labelled(budget).x));
}

TEST(Biases, AreTheBiasesOrTheScalesOfBatchNorm) {
  const auto trained = [](const AttackedRun& run, const std::string& variant) {
    return outcome_of(run, "W2", searched(4, 0, variant)).at("cost").at("trained_parameters").get<std::int64_t>();
  };
  EXPECT_EQ(trained(test::untrained_run(test::mode_b), ""), 16 + 32 + 11);
  const auto run = test::untrained_run(resnet);
  std::int64_t channels = 0;
  for (const auto& layer : batch_norms(*run.experiment.model)) channels += layer->channels();
  EXPECT_EQ(trained(run, "affine"), 2 * channels);
  EXPECT_EQ(trained(run, ""), channels + 11);
  EXPECT_EQ(access_of(run, "W2", searched(4, 0, "affine")), access_of(run, "O1", {}));
}

ModelOptions options_for(const std::string& name) {
  std::vector<std::int64_t> shape{1, 28, 28};
  if (name == "mlp") shape = {20};
  if (name == "resnet18" || name == "vit_tiny") shape = {3, 32, 32};
  return {.sample_shape = shape, .classes = 10, .reject_class = true};
}

Images images_for(const std::string& name, std::int64_t n) {
  std::vector<std::int64_t> shape = options_for(name).sample_shape;
  shape.insert(shape.begin(), n);
  return {draws(1, shape), {}};
}

// The means and variances of a second pass, whose layers have the new weights.
TEST(Standardise, EveryChannelHasMeanZeroAndSpreadOne) {
  const at::NoGradGuard no_grad;
  at::set_num_threads(1);
  for (const std::string& name : model_names()) {
    const auto model = make_model(name, options_for(name));
    initialise(*model, 5);
    model->eval();
    const auto images = images_for(name, 6);
    double off = 0.0;
    const auto look = [&] {
      off = 0.0;
      const LayerFilter filter([&](const at::Tensor&, const at::Tensor&, const at::Tensor& output) {
        const auto channel = output.dim() == 4 ? 1 : output.dim() - 1;
        const auto rows = output.to(at::kDouble).movedim(channel, 0).flatten(1);
        const auto mean = rows.mean(1), std = rows.std(1, false);
        off = std::max({off, mean.abs().max().item<double>(), (std - 1).abs().max().item<double>()});
        return output;
      });
      model->forward(images.x, Injection::none());
    };
    look();
    EXPECT_GT(off, 0.1) << name;
    standardise_channels(*model, images);
    look();
    EXPECT_LT(off, 2e-4) << name;
    for (const auto& layer : batch_norms(*model))
      EXPECT_TRUE(layer->weight.eq(1).all().item<bool>() && layer->bias.eq(0).all().item<bool>()) << name;
  }
}

// The first channels are so far below zero that no gradient comes back from them.
TEST(Standardise, OpensWhatOnlyHidesItsGradients) {
  const auto run = test::untrained_run(test::mode_b);
  {
    const at::NoGradGuard no_grad;
    run.experiment.model->named_parameters()["conv1.bias"].fill_(-100.0);
  }
  const auto share = [&](const std::string& id, const std::string& variant) {
    const auto access = access_of(run, id, searched(60, 60, variant));
    return access.at("strip").get<double>() / access.at("samples").get<double>();
  };
  const auto& dataset = *run.experiment.dataset;
  const double majority = dataset.majority_rate(dataset.test());
  EXPECT_LE(share("W1", "all"), majority + 1e-9);
  EXPECT_GT(share("W1ls", ""), majority + 0.15);
}

TEST(Standardise, PutsTheNetworkBack) {
  for (const char* config : {test::mode_b, test::small_mlp}) {
    const auto run = test::untrained_run(config);
    expect_untouched(run, [&] {
      EXPECT_NE(access_of(run, "W1ls", searched(10, 0)), access_of(run, "O1", {})) << config;
      EXPECT_EQ(outcome_of(run, "W1ls", searched(10, 1)).at("cost").at("labels"), 10);
    });
  }
}

// The first BatchNorm sees the stem's convolution: its statistics over all images in float64.
TEST(Recalibrate, StatisticsAreThoseOfTheImages) {
  const auto run = test::untrained_run(resnet);
  auto& model = *run.experiment.model;
  const auto parameters = model.named_parameters();
  const auto layer = batch_norms(model).at(0);
  const at::NoGradGuard no_grad;
  const auto over = [&](const at::Tensor& x) {
    return at::conv2d(x.to(at::kDouble), parameters["stem.0.weight"].to(at::kDouble), {}, 1, 1)
        .movedim(1, 0)
        .flatten(1);
  };
  const auto few = images_for("small_resnet", 5), many = images_for("small_resnet", largest_full_batch + 4);
  const WeightsGuard guard(model, {});
  replace_statistics(model, few);
  EXPECT_FALSE(model.is_training());
  EXPECT_TRUE(at::allclose(layer->running_mean.to(at::kDouble), over(few.x).mean(1), 1e-4, 1e-5));
  EXPECT_TRUE(at::allclose(layer->running_var.to(at::kDouble), over(few.x).var(1, true), 1e-4, 1e-5));
  replace_statistics(model, many);
  EXPECT_TRUE(at::allclose(layer->running_mean.to(at::kDouble), over(many.x).mean(1), 1e-4, 1e-5));
}

TEST(Recalibrate, NeedsNoLabels) {
  const auto run = test::untrained_run(resnet);
  expect_untouched(run, [&] {
    const auto outcome = outcome_of(run, "W3", {.images = 20});
    EXPECT_EQ(outcome.at("cost").at("labels"), 0);
    EXPECT_EQ(outcome.at("cost").at("unlabelled"), 20);
    EXPECT_NE(outcome.at("access"), access_of(run, "O1", {}));
  });
}

TEST(Combined, IsWhatItsPartsAre) {
  const auto run = test::locked_run(test::mode_b, 10);
  expect_untouched(run, [&] {
    const auto alone = access_of(run, "W2", searched(10, 15)), read = access_of(run, "C1", searched(10, 15, "biases"));
    EXPECT_EQ(read.at("correct"), alone.at("strip"));
    EXPECT_EQ(read.at("rejected"), 0);
    EXPECT_EQ(access_of(run, "C1", searched(10, 0, "biases")).at("correct"), access_of(run, "O1", {}).at("strip"));
    const auto both = outcome_of(run, "C1", searched(10, 15, "biases and key"));
    EXPECT_EQ(both.at("cost").at("trained_parameters"), 16 + 32 + 11 + 784 + 1568);
    EXPECT_LT(both.at("own_loss"), outcome_of(run, "W2", searched(10, 15)).at("own_loss"));
    const auto relearnt = outcome_of(run, "C1", searched(10, 15, "factors and last layer"));
    EXPECT_EQ(relearnt.at("cost").at("trained_parameters"), 784 + 1568 + 11 * 1568 + 11);
    EXPECT_LT(relearnt.at("own_loss"), outcome_of(run, "C1", searched(10, 0, "factors and last layer")).at("own_loss"));
  });
}

// A student with the weights of its teacher, whose keys do nothing, has nothing to learn.
TEST(Distil, ATeachersTwinIsASilentStudent) {
  const auto run = test::untrained_run("[key]\nlayers=[0,2]\ngamma=0.0\n");
  AttackContext context(run, find_attack("D1"), 0);
  const auto key = context.keyed(context.leaked(1)[0]);
  const auto lesson = lesson_with_key(context, context.unlabelled(40), key);
  const auto student = context.fresh_network();
  const auto named = [&](const at::Tensor& x) { return student->forward(x, Injection::none()).logits.argmax(1); };
  const auto teacher = [&](const at::Tensor& x) {
    return run.experiment.model->forward(x, Injection::none()).logits.argmax(1);
  };
  // Control: a stranger has something to learn.
  EXPECT_GT(teach(context, *student, lesson, 0), 1e-3);
  EXPECT_LT(context.agreement(named, teacher), 0.9);
  {
    const at::NoGradGuard no_grad;
    for (const auto& entry : run.experiment.model->named_parameters())
      student->named_parameters()[entry.key()].copy_(entry.value());
  }
  EXPECT_NEAR(teach(context, *student, lesson, 0), 0.0, 1e-6);
  EXPECT_EQ(context.agreement(named, teacher), 1.0);
  EXPECT_EQ(context.cost().queries, 40);
}

TEST(Distil, AHolderOfAKeyTeachesWhatItOpens) {
  const auto run = test::locked_run(test::mode_b, 30);
  const auto outcome = outcome_of(run, "D1", {.images = 150, .steps = 60, .leaked = 1});
  EXPECT_GT(outcome.at("access").at("correct").get<double>(), 0.3 * 256);
  EXPECT_LT(access_of(run, "O1", {}).at("correct").get<double>(), 0.2 * 256);
  EXPECT_EQ(outcome.at("cost").at("labels"), 0);
  EXPECT_EQ(outcome.at("cost").at("leaked"), 1);
}

// With permuted labels nothing is learnt that holds for other images; with the true ones something is.
TEST(Weights, PermutedLabelsDoNotOpen) {
  const auto access = [](bool permuted, const std::string& id, const Budget& budget) {
    auto experiment = test::untrained(test::mode_b);
    if (permuted) experiment.dataset = test::with_permuted_labels(*experiment.dataset);
    const auto run = make_attacked_run(std::move(experiment), std::nullopt);
    const auto found = access_of(run, id, budget);
    return found.at("strip").get<double>() / found.at("samples").get<double>();
  };
  const double n = 256, chance = 0.125, se = std::sqrt(chance * (1 - chance) / n);
  for (const auto& [id, budget] : {std::pair{"W1", searched(80, 40, "rtal")}, std::pair{"W1ls", searched(80, 30)}}) {
    EXPECT_LT(access(true, id, budget), chance + 4 * se) << id;
    EXPECT_GT(access(false, id, budget), chance + 8 * se) << id;
  }
}

}  // namespace
}  // namespace spankey::weights_test
