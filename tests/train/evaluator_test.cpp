#include "train/evaluator.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <torch/utils.h>

#include <thread>

#include "data/assembler.h"
#include "train/coordinator.h"
#include "train/experiment.h"

namespace spankey {
namespace {

const Experiment& experiment() {
  static const auto made = make_experiment(parse_config("[deny]\nmode='B'\n[key]\nlayers=[0,2]\n", "test"));
  return made;
}

KeyMaker key_maker(const Experiment& e) {
  return KeyMaker(e.config.key, e.config.run.compat, make_basis(e.config.key, e.key_dims, 42), 42);
}

nlohmann::json evaluate_on(int ranks, std::int64_t keys) {
  const auto maker = key_maker(experiment());
  auto communicators = make_thread_communicators(ranks);
  std::vector<nlohmann::json> reports(static_cast<std::size_t>(ranks));
  std::vector<std::thread> threads;
  for (std::size_t r = 0; r < reports.size(); ++r)
    threads.emplace_back(
        [&, r] { reports[r] = to_json(Evaluator(experiment(), maker, *communicators[r]).evaluate(keys, false)); });
  for (auto& thread : threads) thread.join();
  for (const auto& report : reports) EXPECT_EQ(report, reports[0]);
  return reports[0];
}

// The whole test split in one batch, counted with plain tensor operations.
TEST(Evaluator, CountsEverySampleOnceOnAnyNumberOfRanks) {
  const auto& e = experiment();
  const torch::NoGradGuard no_grad;
  e.model->eval();
  const auto n = e.dataset->test().size;
  at::Tensor x, labels;
  std::vector<std::int64_t> all(static_cast<std::size_t>(n));
  for (std::int64_t i = 0; i < n; ++i) all[static_cast<std::size_t>(i)] = i;
  Assembler(*e.dataset, e.dataset->test(), Augment::none, 42, Purpose::eval_augment)(all, 0, x, labels);
  const auto share = [&](const at::Tensor& hits) { return hits.sum().item<double>() / static_cast<double>(n); };
  const auto logits = e.model->forward(x, key_maker(e).evaluation_correct(1, n)).logits;
  const auto plain = e.model->forward(x, Injection::none()).logits;

  for (const int ranks : {1, 2, 3}) {
    const auto report = evaluate_on(ranks, 2);
    EXPECT_DOUBLE_EQ(report["no_key"]["accuracy"], share(plain.argmax(1) == labels)) << ranks;
    EXPECT_DOUBLE_EQ(report["no_key"]["strip_accuracy"], share(plain.narrow(1, 0, 10).argmax(1) == labels));
    EXPECT_DOUBLE_EQ(report["no_key"]["reject_fraction"], share(plain.argmax(1) == 10));
    const double second = share(logits.narrow(1, 0, 10).argmax(1) == labels);
    const auto& strip = report["correct_key"]["strip_accuracy"];
    EXPECT_TRUE(strip["min"] == second || strip["max"] == second) << strip << " has no key with " << second;
    EXPECT_EQ(strip["keys"], 2);
  }
}

TEST(Evaluator, ReferenceProtocolDrawsAKeyForEachBatch) {
  const auto one = evaluate_on(1, 0), three = evaluate_on(3, 0);
  EXPECT_EQ(one, three);
  EXPECT_EQ(one["wrong_key"]["accuracy"]["keys"], 1024 / 128);
}

TEST(AccessReport, MeanIsOverSamplesAndSpreadOverKeys) {
  SplitAccess access;
  access.correct_key = {{.accuracy = 1.0, .reject_fraction = {}}, {.accuracy = 0.5, .reject_fraction = {}}};
  access.wrong_key = access.correct_key;
  access.weights = {30.0, 10.0};
  const auto json = to_json(access);
  EXPECT_DOUBLE_EQ(json["correct_key"]["accuracy"]["mean"], 0.875);
  EXPECT_DOUBLE_EQ(json["correct_key"]["accuracy"]["sd"], std::sqrt(0.125));
  EXPECT_DOUBLE_EQ(json["correct_key"]["accuracy"]["min"], 0.5);
  EXPECT_TRUE(json["no_key"]["reject_fraction"].is_null());
}

}  // namespace
}  // namespace spankey
