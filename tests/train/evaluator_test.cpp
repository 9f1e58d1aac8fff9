#include "train/evaluator.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <torch/utils.h>

#include <atomic>
#include <csignal>
#include <cstdlib>
#include <memory>
#include <numeric>
#include <thread>
#include <vector>

#include "data/assembler.h"
#include "record/result.h"
#include "support/expect_error.h"
#include "support/mode_b.h"
#include "support/thread_communicator.h"
#include "train/coordinator.h"
#include "train/experiment.h"

namespace spankey::evaluator_test {
namespace {

const Experiment& experiment() {
  static const auto made = make_experiment(parse_config(test::mode_b, "test"));
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

// What a rank has measured before the ranks add up.
class Watched : public Communicator {
 public:
  explicit Watched(Communicator& inner) : Communicator(inner.topology()), inner_(inner) {}
  std::int64_t measured() const { return measured_; }
  std::unique_ptr<Communicator> split(int color, int key) override { return inner_.split(color, key); }
  [[noreturn]] void abort(int exit_code) override {
    inner_.abort(exit_code);
    std::abort();  // not reached: gcc does not believe the attribute of a virtual function
  }
  void set_place(const std::string& place) override { inner_.set_place(place); }
  void begin_step(const std::string& place) override { inner_.begin_step(place); }

 private:
  void do_broadcast(at::Tensor& tensor, int root) override { inner_.broadcast(tensor, root); }
  void do_all_reduce(at::Tensor& tensor, ReduceOp op) override {
    if (tensor.dim() == 3) measured_ += tensor.select(2, 0).sum().item<std::int64_t>();
    inner_.all_reduce(tensor, op);
  }
  void do_all_gather(const at::Tensor& tensor, at::Tensor& gathered) override { gathered = inner_.all_gather(tensor); }
  void do_exchange(const at::Tensor& send, at::Tensor& receive, int peer) override {
    inner_.exchange(send, receive, peer);
  }
  void do_barrier() override { inner_.barrier(); }

  Communicator& inner_;
  std::int64_t measured_ = 0;
};

// Also where one batch holds the whole split, as with the protocol of a fresh key for each batch.
TEST(Evaluator, EveryRankHasAShareOfTheWork) {
  for (const std::int64_t keys : {0, 3}) {
    const auto made = make_experiment(parse_config("[train]\nglobal_batch=4096\n", "test"));
    const auto maker = key_maker(made);
    constexpr std::size_t ranks = 5;
    auto communicators = make_thread_communicators(ranks);
    std::vector<std::int64_t> measured(ranks);
    std::vector<nlohmann::json> reports(ranks);
    std::vector<std::thread> threads;
    for (std::size_t r = 0; r < ranks; ++r)
      threads.emplace_back([&, r] {
        Watched watched(*communicators[r]);
        reports[r] = to_json(Evaluator(made, maker, watched).evaluate(keys, false));
        measured[r] = watched.measured();
      });
    for (auto& thread : threads) thread.join();
    const auto columns = keys == 0 ? 3 : 1 + 2 * keys;
    const auto all = columns * made.dataset->test().size;
    EXPECT_EQ(std::accumulate(measured.begin(), measured.end(), std::int64_t{0}), all);
    for (const auto share : measured) {
      EXPECT_GT(share, 0) << keys;
      EXPECT_LE(share, all / static_cast<std::int64_t>(ranks) + 256) << keys;
    }
    const auto self = std::move(make_thread_communicators(1)[0]);
    EXPECT_EQ(reports[1], to_json(Evaluator(made, maker, *self).evaluate(keys, false)));
    if (keys == 0) {
      EXPECT_EQ(reports[0]["correct_key"]["accuracy"]["keys"], 1);
    }
  }
}

// A rank that is asked leaves with all others, which are in the middle of their work; in the control nobody is asked.
TEST(Evaluator, AStopOfAnyRankEndsItOnAllOfThem) {
  const auto maker = key_maker(experiment());
  for (const int asked : {-1, 0, 2}) {
    auto communicators = make_thread_communicators(3);
    std::vector<std::thread> threads;
    std::atomic<int> left = 0, rounds = 0;
    for (int r = 0; r < 3; ++r)
      threads.emplace_back([&, r] {
        const Evaluator evaluator(experiment(), maker, *communicators[static_cast<std::size_t>(r)]);
        auto request = evaluator.request(8, false);
        int done = 0;
        request.stop_wish = [&] { return r == asked && done >= 4 ? SIGTERM : 0; };
        request.progress = [&](double) { ++done, ++rounds; };
        try {
          evaluator.evaluate(request);
        } catch (const Interrupted& stop) {
          EXPECT_EQ(static_cast<int>(stop.code()), 128 + SIGTERM);
          ++left;
        }
      });
    for (auto& thread : threads) thread.join();
    EXPECT_EQ(left, asked < 0 ? 0 : 3);
    if (asked < 0) {
      EXPECT_EQ(rounds, 3 * ((4 * 17 + 2) / 3));
    } else {
      EXPECT_LT(rounds, 3 * ((4 * 17 + 2) / 3));
    }
  }
}

TEST(Evaluator, WhatCannotBeMeasuredIsRefusedBeforehand) {
  const auto maker = key_maker(experiment());
  const auto self = std::move(make_thread_communicators(1)[0]);
  const Evaluator evaluator(experiment(), maker, *self);
  EXPECT_ERROR(evaluator.require_possible(evaluator.request(100'000'000'000, false)), ExitCode::bad_input,
               testing::AllOf(testing::HasSubstr("eval.keys = 100000000000"), testing::HasSubstr("accepted: 0 to ")));
  EXPECT_NO_THROW(evaluator.require_possible(evaluator.request(1'000'000, false)));
}

// Means, quantiles (linear between order statistics) and the interval (t_3 = 3.182446 at 97.5 %) by hand.
TEST(AccessReport, MeanIsOverSamplesAndSpreadOverKeys) {
  const auto key = [](double accuracy, double samples) {
    return AccessFigures{.accuracy = accuracy, .reject_fraction = {}, .samples = samples};
  };
  SplitAccess access;
  access.correct_key = {key(1.0, 30), key(0.5, 10)};
  access.families = {{"negated", {key(0.1, 5), key(0.2, 5), key(0.4, 5), key(0.9, 5)}}, {"gaussian", {key(0.3, 5)}}};
  const auto json = to_json(access);
  const auto& correct = json["correct_key"]["accuracy"];
  EXPECT_DOUBLE_EQ(correct["mean"], 0.875);
  EXPECT_DOUBLE_EQ(correct["sd"], std::sqrt(0.125));
  EXPECT_DOUBLE_EQ(correct["min"], 0.5);
  EXPECT_TRUE(json["no_key"]["reject_fraction"].is_null());
  EXPECT_EQ(json["wrong_family"], "negated");
  EXPECT_EQ(json["wrong_key"], json["families"]["negated"]);
  EXPECT_EQ(json["families"].size(), 2U);
  const auto& wrong = json["wrong_key"]["accuracy"];
  EXPECT_DOUBLE_EQ(wrong["quantiles"]["q50"], 0.3);
  EXPECT_DOUBLE_EQ(wrong["quantiles"]["q25"], 0.175);
  EXPECT_NEAR(wrong["quantiles"]["q95"], 0.825, 1e-12);
  // At both ends e: (.4 - e)^2 = t^2 s^2 / 4 times e (1 - e) / (.4 .6).
  const double variance = (0.09 + 0.04 + 0.25 + 0.0) / 3 / 4;
  for (const double end : {wrong["ci95"][0].get<double>(), wrong["ci95"][1].get<double>()})
    EXPECT_NEAR(std::pow(0.4 - end, 2), std::pow(3.182446, 2) * variance * end * (1 - end) / 0.24, 1e-6);
  EXPECT_LT(wrong["ci95"][0], 0.4);
  EXPECT_GT(wrong["ci95"][1], 0.4);
  const auto& high = correct["ci95"];  // 1 and .5: Student's interval of the mean would reach from -2.4 to 3.9
  EXPECT_GE(high[0], 0.0);
  EXPECT_LE(high[1], 1.0);
  EXPECT_TRUE(json["families"]["gaussian"]["accuracy"]["ci95"].is_null());
}

TEST(Evaluator, FamiliesAndNormsAreMeasuredBesideTheRest) {
  const auto maker = key_maker(experiment());
  const auto self = std::move(make_thread_communicators(1)[0]);
  const Evaluator evaluator(experiment(), maker, *self);
  const auto plain = to_json(evaluator.evaluate(2, false));
  const auto json = to_json(evaluator.evaluate(
      {.keys = 2, .families = {&find_key_family("scaled"), &find_key_family("gaussian")}, .norms = {1.0, 4.0}}));
  EXPECT_EQ(json["wrong_family"], "scaled");
  EXPECT_EQ(json["families"]["gaussian"], plain["wrong_key"]);
  EXPECT_EQ(json["correct_key"], plain["correct_key"]);
  ASSERT_EQ(json["norm_sweep"].size(), 2U);
  EXPECT_EQ(json["norm_sweep"][0]["correct_key"], plain["correct_key"]);
  EXPECT_EQ(json["norm_sweep"][0]["wrong_key"], plain["wrong_key"]);
  EXPECT_NE(json["norm_sweep"][1]["wrong_key"], plain["wrong_key"]);  // negative control
  const auto table = access_table(json);
  EXPECT_NE(table.find("worst case: "), std::string::npos) << table;
  EXPECT_NE(table.find("norm of keys"), std::string::npos) << table;
  EXPECT_EQ(access_table(plain).find("worst case: "), std::string::npos);
}

// gamma 2 and standard deviation 1: .314 of the entries at 0.1 and .291 at 2 under a Gaussian key, by quadrature
// (method of the paper; 784 + 1568 entries, 16 keys: four standard errors are .011).
TEST(Evaluator, SaturationOfTheMultiplierIsReported) {
  const auto report = [](const std::string& key) {
    const auto made = make_experiment(parse_config("[key]\nlayers=[0,2]\n" + key, "test"));
    const auto self = std::move(make_thread_communicators(1)[0]);
    return to_json(Evaluator(made, key_maker(made), *self).evaluate(16, false))["multiplier_saturation"];
  };
  const auto strong = report("gamma=2.0\ntarget_std=1.0\n");
  EXPECT_NEAR(strong["wrong_key"]["low"], 0.314, 0.011);
  EXPECT_NEAR(strong["wrong_key"]["high"], 0.291, 0.011);
  const auto weak = report("gamma=0.5\n");
  EXPECT_EQ(weak["correct_key"]["low"], 0.0);
  EXPECT_EQ(weak["correct_key"]["high"], 0.0);
  EXPECT_TRUE(report("gamma=2.0\nmultiplier='sym'\n").is_null());
  EXPECT_TRUE(report("inject='add'\n").is_null());
}

TEST(Evaluator, TwinsAreMeasuredByTheirOwnRule) {
  const auto twin = [](const std::string& name) {
    return make_experiment(
        parse_config("[key]\nlayers=[0,2]\n[deny]\nmode='B'\n[train]\ntwin='" + name + "'\n", "test"));
  };
  const auto evaluate = [](const Experiment& made) {
    const KeyMaker maker(made.config, make_basis(made.config.key, made.key_dims, 42));
    const auto self = std::move(make_thread_communicators(1)[0]);
    return to_json(Evaluator(made, maker, *self).evaluate(3, false));
  };
  const auto vanilla = twin("vanilla");
  EXPECT_EQ(vanilla.deny->name, "none");
  const auto plain = evaluate(vanilla);
  EXPECT_EQ(plain["correct_key"]["accuracy"]["mean"], plain["no_key"]["accuracy"]);
  EXPECT_EQ(plain["wrong_key"]["accuracy"]["max"], plain["no_key"]["accuracy"]);
  EXPECT_TRUE(plain["no_key"]["reject_fraction"].is_null());
  const auto fixed = evaluate(twin("fixed_key"));
  EXPECT_EQ(fixed["correct_key"]["accuracy"]["keys"], 1);
  EXPECT_EQ(fixed["wrong_key"]["accuracy"]["keys"], 3);
  const auto noise = evaluate(twin("noise"));
  EXPECT_EQ(noise["correct_key"], evaluate(twin("none"))["correct_key"]);
  EXPECT_NE(noise["correct_key"]["accuracy"]["mean"], noise["no_key"]["accuracy"]);
}

TEST(Experiment, UnknownFamiliesAreNamed) {
  for (const char* key : {"eval.families", "deny.families"}) {
    EXPECT_ERROR(parse_config("", "test", {std::string(key) + "=['Gaussian', 'negeted']"}), ExitCode::bad_input,
                 testing::AllOf(testing::HasSubstr(key), testing::HasSubstr("negeted"),
                                testing::HasSubstr("did you mean 'negated'"), testing::HasSubstr("low_frequency")));
  }
}

}  // namespace
}  // namespace spankey::evaluator_test
