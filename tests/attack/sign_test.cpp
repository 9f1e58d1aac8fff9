// K10 and K11, the attacks on locks whose keys are signs and orders: each against an optimum or an order that the test
// knows.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "attack/attacks/order_match.h"
#include "attack/attacks/sign_search.h"
#include "spankey/models/named_tensor.h"
#include "toy_run.h"

namespace spankey::sign_test {
namespace {

using test::outcome_of;
using test::share;

constexpr const char* sign_mlp =
    "[data]\nfile='builtin:argmax'\n[model]\nname='mlp'\n[deny]\nmode='B'\n[key]\nlayers=[0,1]\nm=4\n"
    "basis='cone'\nmultiplier='sign'\n";

at::Tensor normal(std::uint64_t sample, at::IntArrayRef shape) {
  at::Tensor values = at::empty(shape, at::kFloat);
  Stream({.seed = 6, .purpose = Purpose::test, .sample = sample})
      .fill_normal({values.mutable_data_ptr<float>(), static_cast<std::size_t>(values.numel())});
  return values;
}

// |A s - b|^2 over signs s.
struct Problem {
  at::Tensor a, b;
  double at(const at::Tensor& signs) const { return (a.mv(signs) - b).square().sum().item<double>(); }
};

std::vector<std::int64_t> rounds(std::int64_t n, int times) {
  std::vector<std::int64_t> order;
  for (int i = 0; i < times; ++i)
    for (std::int64_t j = 0; j < n; ++j) order.push_back(j);
  return order;
}

TEST(DescendSigns, FindsTheOptimumWhereCoordinatesDoNotMeet) {
  const Problem problem{at::eye(10), normal(0, {10})};
  const auto signs = at::ones({10});
  const double start = problem.at(signs);
  const double end = descend_signs(signs, rounds(10, 1), [&] { return problem.at(signs); });
  EXPECT_TRUE(at::equal(signs, problem.b.sign()));
  EXPECT_DOUBLE_EQ(end, problem.at(problem.b.sign()));
  EXPECT_LT(end, start);
}

// Among all 256 signs some may be better, but none that differs in one place.
TEST(DescendSigns, EndsWhereNoSingleFlipHelps) {
  const Problem problem{normal(1, {5, 8}), normal(2, {5})};
  const auto signs = at::ones({8});
  const double start = problem.at(signs);
  const double end = descend_signs(signs, rounds(8, 20), [&] { return problem.at(signs); });
  EXPECT_LT(end, start);
  EXPECT_DOUBLE_EQ(end, problem.at(signs));
  for (std::int64_t i = 0; i < 8; ++i) {
    auto flipped = signs.clone();
    flipped[i] = -flipped[i];
    EXPECT_GE(problem.at(flipped), end);
  }
}

TEST(SignSearch, LowersItsLossAndPutsTheNetworkBack) {
  const auto run = test::locked_run(sign_mlp, 150);
  const auto before = weights_digest(*run.experiment.model);
  const auto found = [&](const char* variant, std::int64_t steps) {
    return outcome_of(run, "K10", {.images = 60, .steps = steps, .variant = variant});
  };
  for (const auto& [variant, steps] :
       {std::pair("gradient", 100), std::pair("coordinates", 400), std::pair("new last layer", 100)}) {
    const auto start = found(variant, 0), end = found(variant, steps);
    EXPECT_LT(end.at("own_loss").get<double>(), 0.8 * start.at("own_loss").get<double>()) << variant;
    EXPECT_GT(share(end, "strip"), share(start, "strip")) << variant;
    EXPECT_EQ(end.at("cost").at("labels"), 60);
    EXPECT_TRUE(end.at("detail").at("owner").contains("cosine_to_mean_key"));
  }
  EXPECT_EQ(found("coordinates", 400).at("cost").at("forward"), 60 * 401);
  EXPECT_EQ(weights_digest(*run.experiment.model), before);
}

TEST(MatchColumns, FindsTheOrderOfNoisyProfiles) {
  const auto profiles = normal(3, {10, 200});
  const auto order = permutation({.seed = 2, .purpose = Purpose::test}, 200);
  const auto columns = profiles.index_select(1, at::tensor(order, at::kLong)) * 3.0 + 0.3 * normal(4, {10, 200});
  EXPECT_EQ(match_columns(columns, profiles), order);
  // Control: profiles that have nothing to do with the columns tell nothing, and each is still taken once.
  auto other = match_columns(columns, normal(5, {10, 200}));
  std::size_t right = 0;
  for (std::size_t i = 0; i < order.size(); ++i) right += other[i] == order[i] ? 1 : 0;
  EXPECT_LT(right, 10U);
  std::sort(other.begin(), other.end());
  std::vector<std::int64_t> all(200);
  std::iota(all.begin(), all.end(), 0);
  EXPECT_EQ(other, all);
}

// The columns of a trained last layer are mixed up by the test, as key.permute mixes up what they take.
TEST(OrderMatch, UndoesAnOrder) {
  const auto run = test::untrained_run("[key]\nlayers=[0]\n");
  auto& model = *run.experiment.model;
  const auto& dataset = *run.experiment.dataset;
  Images images;
  std::vector<std::int64_t> first(1000);
  std::iota(first.begin(), first.end(), 0);
  Assembler(dataset, dataset.train(), Augment::none, 0, Purpose::eval_augment)(first, 0, images.x, images.labels);
  for (auto& parameter : model.parameters()) parameter.requires_grad_(true);
  fit(model.parameters(), images,
      [&](const Images& batch) {
        return shipped_loss(model.forward(batch.x, Injection::none()), batch.labels, RejectKind::none);
      },
      {.lr = 3e-3, .steps = 100, .order = {}, .after_each_step = {}});
  for (auto& parameter : model.parameters()) parameter.requires_grad_(false);
  const double plain = share(outcome_of(run, "O1", {}), "strip");
  EXPECT_GT(plain, 0.8);
  for (auto& [name, value] : named_parameters(model))
    if (name == "fc.weight") {
      const auto order = permutation({.seed = 8, .purpose = Purpose::test}, value.size(1));
      value.copy_(value.index_select(1, at::tensor(order, at::kLong)).clone());
    }
  const double mixed = share(outcome_of(run, "O1", {}), "strip");
  const double undone = share(outcome_of(run, "K11", {.images = 600}), "strip");
  EXPECT_LT(mixed, 0.3);
  EXPECT_GT(undone, mixed + 0.3) << "of " << plain;
}

}  // namespace
}  // namespace spankey::sign_test
