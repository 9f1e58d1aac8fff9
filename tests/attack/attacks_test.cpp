// Each attack against what it must equal: an evaluation, a closed form, finite differences.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <optional>

#include "dist/backend.h"
#include "spankey/models/named_tensor.h"
#include "support/expect_error.h"
#include "toy_run.h"
#include "train/evaluator.h"

namespace spankey::attacks_test {
namespace {

using test::outcome_of;
using test::share;

nlohmann::json evaluation(const AttackedRun& run, std::int64_t keys) {
  const auto communicator = make_communicator(Backend::self, 30);
  const KeyMaker maker(run.experiment.config, *run.basis);
  return to_json(Evaluator(run.experiment, maker, *communicator).evaluate(keys, false));
}

const AttackedRun& locked_cnn() {
  static const auto run = test::locked_run(test::mode_b, 30);
  return run;
}

TEST(Attacks, StripAndReferenceAreTheEvaluations) {
  const auto& run = locked_cnn();
  const auto report = evaluation(run, 4);
  const auto strip = outcome_of(run, "O1", {});
  EXPECT_DOUBLE_EQ(share(strip, "strip"), report.at("no_key").at("strip_accuracy"));
  EXPECT_DOUBLE_EQ(share(strip, "correct"), report.at("no_key").at("accuracy"));
  EXPECT_DOUBLE_EQ(share(strip, "rejected"), report.at("no_key").at("reject_fraction"));
  const auto reference = outcome_of(run, "R0", {.keys = 4, .variant = ""});
  EXPECT_NEAR(share(reference, "correct"), report.at("correct_key").at("accuracy").at("mean"), 1e-12);
  const auto family = outcome_of(run, "K2", {.keys = 4, .variant = "gaussian"});
  EXPECT_NEAR(share(family, "correct"), report.at("wrong_key").at("accuracy").at("mean"), 1e-12);
  EXPECT_NEAR(family.at("detail").at("best_key").get<double>(), report.at("wrong_key").at("accuracy").at("max"), 1e-12);
}

TEST(Attacks, AKeyOfZerosIsNoKey) {
  for (const std::string inject : {"mul", "add"}) {
    const auto run = test::untrained_run(std::string(test::mode_b) + "inject='" + inject + "'\n");
    const auto none = outcome_of(run, "Z0", {.variant = "none"}).at("access");
    EXPECT_EQ(none, outcome_of(run, "Z0", {.variant = "zero"}).at("access"));
    EXPECT_EQ(none, outcome_of(run, "O1", {}).at("access"));
  }
}

// The lock of the test opens to its key, rejects without one, and a free key on ten images does better than no key.
TEST(Attacks, AFreeKeyOpensTheToyLock) {
  const auto& run = locked_cnn();
  const double correct = share(outcome_of(run, "R0", {.keys = 1, .variant = ""}), "correct");
  const double none = share(outcome_of(run, "O1", {}), "correct");
  const double free_key =
      share(outcome_of(run, "K5", {.images = 10, .steps = 100, .keys = 0, .variant = ""}), "correct");
  EXPECT_GT(correct, 0.4);
  EXPECT_LT(none, 0.2);
  EXPECT_GT(free_key, none + 0.2);
}

TEST(Attacks, OneLeakedKeyIsAValidKey) {
  const auto& run = locked_cnn();
  const KeyMaker keys(run.experiment.config, *run.basis);
  AttackContext context(run, find_attack("K4"), 1);
  const auto leaked = context.leaked(3);
  for (const auto& key : leaked) {
    const auto& rows = run.basis->layers[0];
    const auto frame = orthonormal_rows(rows.to(at::kDouble));
    const auto flat = key[0].to(at::kDouble);
    const auto beside = flat - flat.matmul(frame.t()).matmul(frame);
    EXPECT_LT(beside.norm().item<double>(), 1e-5 * flat.norm().item<double>());
  }
  EXPECT_FALSE(at::equal(leaked[0][0], leaked[1][0]));
  EXPECT_FALSE(at::equal(leaked[0][0], keys.evaluation_correct(0, 1).keys_at(0)));
  const auto one = outcome_of(run, "K4", {.leaked = 1}, 1);
  EXPECT_EQ(one.at("access").at("correct"), context.judge(context.keyed(leaked[0])).correct);
}

// forward(x, key at the input) = forward(x + gamma key, no key) where keys are added.
TEST(Attacks, AnAddedKeyAtTheInputIsAPerturbationOfTheInput) {
  auto experiment = test::untrained("[key]\nlayers=[0]\ninject='add'\ngamma=0.7\n");
  auto& model = *experiment.model;
  model.to(at::kDouble);
  model.eval();
  const at::NoGradGuard no_grad;
  const auto draw = [](std::uint64_t sample, at::IntArrayRef shape) {
    at::Tensor values = at::empty(shape, at::kFloat);
    Stream({.seed = 5, .purpose = Purpose::test, .sample = sample})
        .fill_normal({values.mutable_data_ptr<float>(), static_cast<std::size_t>(values.numel())});
    return values.to(at::kDouble);
  };
  const auto x = draw(0, {6, 1, 28, 28}), key = draw(1, {1, 784});
  const auto keyed = model.forward(x, Injection::of_keys({0}, {key}, {Inject::add, 0.7, Multiplier::clamp})).logits;
  const auto moved = model.forward(x + 0.7 * key.view({1, 1, 28, 28}), Injection::none()).logits;
  const double largest = keyed.abs().max().item<double>();
  EXPECT_LT((keyed - moved).abs().max().item<double>(), 1e-13 * largest);
  EXPECT_GT((keyed - model.forward(x, Injection::none()).logits).abs().max().item<double>(), 1e-3 * largest);
}

TEST(Attacks, WithoutStrengthAKeyStaysWhereItWas) {
  for (const std::string inject : {"mul", "add"}) {
    const auto run = test::untrained_run("[deny]\nmode='B'\n[key]\nlayers=[0,2]\ngamma=0.0\ninject='" + inject + "'\n");
    const auto none = outcome_of(run, "O1", {}).at("access");
    const Budget budget{.images = 5, .steps = 4, .keys = 0, .variant = ""};
    EXPECT_EQ(outcome_of(run, "K5", budget).at("access"), none) << inject;
    EXPECT_EQ(outcome_of(run, "K6", budget).at("access"), none) << inject;
    EXPECT_EQ(outcome_of(run, "K1", {.images = 5, .keys = 3, .variant = ""}).at("access"), none) << inject;
    EXPECT_EQ(outcome_of(run, "K5", {.images = 5, .steps = 4, .variant = "slot"}).at("access"), none) << inject;
    EXPECT_EQ(outcome_of(run, "K8b", {.images = 5, .queries = 30}).at("access"), none) << inject;
    EXPECT_EQ(outcome_of(run, "K9", {.images = 5, .steps = 2, .variant = "gradient"}).at("access"), none) << inject;
    EXPECT_EQ(outcome_of(run, "L1", {.leaked = 2, .variant = "mosaic"}).at("access"), none) << inject;
    EXPECT_EQ(outcome_of(run, "L2", {.images = 5, .steps = 3, .leaked = 1}).at("access"), none) << inject;
    // Scores that do not change with the key are an estimate of zero, whatever is asked.
    const auto walked = outcome_of(run, "K8a", {.images = 5, .queries = 60}),
               stayed = outcome_of(run, "K8a", {.images = 5, .queries = 0});
    EXPECT_EQ(walked.at("access"), none) << inject;
    EXPECT_EQ(walked.at("detail").at("owner"), stayed.at("detail").at("owner")) << inject;
    // A zero gradient moves nothing: the key has the spread it started with.
    const auto start = outcome_of(run, "K5", {.images = 5, .steps = 0, .keys = 0, .variant = ""}).at("detail");
    EXPECT_EQ(outcome_of(run, "K5", budget).at("detail"), start) << inject;
    // Control: the free multiplier knows no gamma.
    EXPECT_NE(outcome_of(run, "K7", {.images = 5, .steps = 40, .keys = 0, .variant = ""}).at("access"), none);
  }
}

TEST(Attacks, WithoutStepsRowsEqualNoKey) {
  for (const char* config : {test::mode_b, test::small_mlp, "[model]\nname='small_resnet'\n[deny]\nmode='B_aux'\n"}) {
    const auto run = test::untrained_run(config);
    const auto none = outcome_of(run, "O1", {}).at("access");
    const auto weights = run.weights_sha256;
    for (const char* id : {"K7", "W2"})
      EXPECT_EQ(outcome_of(run, id, {.images = 4, .steps = 0, .keys = 0, .variant = ""}).at("access"), none) << id;
    for (const char* variant : {"fc", "all"}) {
      EXPECT_EQ(outcome_of(run, "W1", {.images = 4, .steps = 0, .keys = 0, .variant = variant}).at("access"), none);
      EXPECT_NE(outcome_of(run, "W1", {.images = 4, .steps = 15, .keys = 0, .variant = variant}).at("access"), none);
    }
    EXPECT_NE(outcome_of(run, "W2", {.images = 4, .steps = 30, .keys = 0, .variant = ""}).at("access"), none);
    // And the network is as it was.
    EXPECT_EQ(to_hex(weights_digest(*run.experiment.model)), weights);
    EXPECT_EQ(outcome_of(run, "O1", {}).at("access"), none);
    for (const auto& parameter : run.experiment.model->parameters()) EXPECT_FALSE(parameter.requires_grad());
  }
}

// min over b of the mean cross entropy of logits + b. Newton's method with the pseudo-inverse, since one number added
// to all biases changes nothing.
double least_loss_of_shifts(const at::Tensor& logits, const at::Tensor& labels) {
  const auto wanted = at::one_hot(labels, logits.size(1)).to(at::kDouble).mean(0);
  at::Tensor shift = at::zeros({logits.size(1)}, at::kDouble);
  for (int step = 0; step < 50; ++step) {
    const at::Tensor p = at::softmax(logits + shift, 1);
    const at::Tensor curvature = at::diag(p.mean(0)) - p.t().matmul(p) / logits.size(0);
    shift = shift - at::linalg_pinv(curvature, 1e-12).matmul(p.mean(0) - wanted);
  }
  return at::cross_entropy_loss(logits + shift, labels).item<double>();
}

// Nothing but a last layer.
class LinearNetwork : public Model {
 public:
  explicit LinearNetwork(std::int64_t width, std::int64_t classes) : width_(width) {
    weight_ = register_parameter("weight", at::empty({classes, width}));
    bias_ = register_parameter("bias", at::empty({classes}));
    initialise(*this, 3);
  }
  std::vector<InjectionPoint> injection_points() const override { return {{"input", {width_}}}; }

 private:
  Output compute(const at::Tensor& x, const Injection& injection) override {
    const at::Tensor features = injection.apply(0, x);
    return {at::linear(features, weight_, bias_), features, {}};
  }

  std::int64_t width_;
  at::Tensor weight_, bias_;
};

// A key that is added in front of the last layer moves the logits of all images by W k. With as many rows in W as it
// has rank, the best key is as good as the best class biases, and the problem is convex. In float64 the search of K5
// comes to them within 1e-6 when it goes on with smaller steps. As the attack runs it, it comes close.
TEST(Attacks, AKeyBeforeTheLastLayerFindsTheBestClassBiases) {
  auto experiment = test::untrained(
      "[data]\nfile='builtin:argmax'\n[model]\nname='mlp'\n[key]\nlayers=[0]\nm=4\ninject='add'\ngamma=1.0\n");
  experiment.model = std::make_shared<LinearNetwork>(experiment.key_dims[0], experiment.dataset->info().classes);
  const auto run = make_attacked_run(std::move(experiment), std::nullopt);
  const auto as_run = outcome_of(run, "K5", {.images = 30, .steps = 300});
  AttackContext context(run, find_attack("K5"), 0);
  auto images = context.labelled(30);
  images.x = images.x.to(at::kDouble);
  auto& network = context.network();
  network.to(at::kDouble);
  const auto best = least_loss_of_shifts(network.forward(images.x, Injection::none()).logits, images.labels);
  const auto entry = context.key_entry();
  const auto key = context.normal_keys(0)[0].to(at::kDouble).requires_grad_(true);
  const auto loss = [&](const Images& batch) {
    return shipped_loss(network.forward(batch.x, context.keyed({key})), batch.labels, RejectKind::none);
  };
  double found = 0.0;
  for (const double lr : {0.05, 0.01, 0.002})
    found = fit({key}, images, loss, {.lr = lr, .steps = 400, .order = {}, .after_each_step = {}});
  EXPECT_NEAR(found, best, 1e-6);
  EXPECT_GT(as_run.at("own_loss").get<double>(), best - 1e-6);
  EXPECT_LT(as_run.at("own_loss").get<double>(), best + 1e-2);
  // Control: without a key the loss is another.
  EXPECT_GT(at::cross_entropy_loss(network.forward(images.x, Injection::none()).logits, images.labels).item<double>(),
            best + 1e-3);
}

// Where no key changes anything every key opens what none opens, and the interval has a closed form: (.05 / 2)^(1/n).
TEST(Attacks, RandomKeysCountThoseThatOpen) {
  auto run = locked_cnn();
  AttackContext context(run, find_attack("K1"), 0);
  const auto none = outcome_of(run, "K1", {.images = 50, .keys = 8, .variant = ""}).at("detail");
  EXPECT_EQ(none.at("opened"), 0);
  EXPECT_NEAR(none.at("opened_ci95")[1].get<double>(), 1.0 - std::pow(0.025, 1.0 / 8), 1e-9);
  // A network that names the label without a key, and whose keys do nothing.
  auto open = test::untrained("[key]\nlayers=[0]\ngamma=0.0\n");
  auto basis = test::basis_of(open);
  Images images;
  std::vector<std::int64_t> rows(200);
  for (std::size_t i = 0; i < rows.size(); ++i) rows[i] = static_cast<std::int64_t>(i);
  Assembler(*open.dataset, open.dataset->train(), Augment::none, 0, Purpose::eval_augment)(rows, 0, images.x,
                                                                                           images.labels);
  auto& model = *open.model;
  fit(model.parameters(), images,
      [&](const Images& batch) {
        return shipped_loss(model.forward(batch.x, Injection::none()), batch.labels, RejectKind::none);
      },
      {.lr = 3e-3, .steps = 40, .order = {}, .after_each_step = {}});
  const auto all =
      outcome_of(make_attacked_run(std::move(open), std::move(basis)), "K1", {.images = 50, .keys = 8, .variant = ""})
          .at("detail");
  EXPECT_EQ(all.at("opened"), 8);
  EXPECT_NEAR(all.at("opened_ci95")[0].get<double>(), std::pow(0.025, 1.0 / 8), 1e-9);
}

// Permuted labels teach nothing, and true ones do.
TEST(Attacks, PermutedLabelsDoNotOpen) {
  const auto& run = locked_cnn();
  const auto& dataset = *run.experiment.dataset;
  const auto n = static_cast<double>(dataset.test().size);
  const double majority = dataset.majority_rate(dataset.test());
  AttackContext context(run, find_attack("S0"), 0);
  auto images = context.labelled(200);
  const auto accuracy = [&](const at::Tensor& labels) {
    const auto network = context.fresh_network();
    const auto answers = [&](const at::Tensor& x) { return network->forward(x, Injection::none()); };
    fit(network->parameters(), {images.x, labels},
        [&](const Images& batch) { return shipped_loss(answers(batch.x), batch.labels, RejectKind::none); },
        {.lr = 1e-3, .steps = 60, .order = {}, .after_each_step = {}});
    return static_cast<double>(context.judge(answers, RejectKind::none).correct) / n;
  };
  const auto order = permutation({.seed = 9, .purpose = Purpose::test}, images.size());
  const double se = std::sqrt(majority * (1 - majority) / n);
  EXPECT_LT(accuracy(images.labels.index_select(0, at::tensor(order, at::kLong))), majority + 4 * se + 0.06);
  EXPECT_GT(accuracy(images.labels), majority + 20 * se);
}

TEST(Attacks, ASearchThatFailsEndsItsUnitAlone) {
  const auto run = test::untrained_run(test::small_mlp);
  {
    const at::NoGradGuard no_grad;
    run.experiment.model->parameters()[0].fill_(std::numeric_limits<float>::quiet_NaN());
  }
  const auto outcome = outcome_of(run, "K5", {.images = 4, .steps = 5, .keys = 0, .variant = ""});
  EXPECT_NE(outcome.at("failure").get<std::string>().find("not finite"), std::string::npos);
  EXPECT_EQ(outcome.at("access").at("samples"), 0);
  EXPECT_TRUE(outcome_of(run, "O1", {}).at("failure").is_null());
}

TEST(Attacks, TheVanillaTwinIsRefused) {
  EXPECT_ERROR(make_attacked_run(test::untrained("[train]\ntwin='vanilla'\n"), std::nullopt), ExitCode::bad_input,
               testing::HasSubstr("train.twin"));
}

}  // namespace
}  // namespace spankey::attacks_test
