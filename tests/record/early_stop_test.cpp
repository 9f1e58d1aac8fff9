// When a run ends before its last epoch, against a second implementation that looks at the whole history.
#include "record/early_stop.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <cmath>
#include <limits>
#include <optional>
#include <random>
#include <vector>

#include "support/expect_error.h"

namespace spankey::early_stop_test {
namespace {

using nlohmann::json;
using testing::AllOf, testing::HasSubstr;

Config config_of(const std::vector<std::string>& more) {
  std::vector<std::string> words{"train.early_stop.metric=no_key.accuracy"};
  words.insert(words.end(), more.begin(), more.end());
  return parse_config("", "test", words);
}

json evaluation(const std::optional<double>& value) {
  return {{"no_key", {{"accuracy", value ? json(*value) : json()}}}};
}

// The epoch after which a run with these values, one an evaluation, ends. 0: it does not.
std::int64_t ends_after(const Config& config, const std::vector<std::optional<double>>& values, std::int64_t every) {
  EarlyStop stop(config);
  for (std::size_t i = 0; i < values.size(); ++i) {
    const auto epoch = every * static_cast<std::int64_t>(i + 1);
    stop.observe(epoch, evaluation(values[i]));
    if (stop.stops()) return epoch;
  }
  return 0;
}

// The same by the definition: walk through the history from its beginning at every epoch.
std::int64_t by_definition(const EarlyStopConfig& rule, const std::vector<std::optional<double>>& values,
                           std::int64_t every) {
  const double sign = rule.goal == Goal::max ? 1 : -1;
  for (std::size_t now = 0; now < values.size(); ++now) {
    std::int64_t best_epoch = 0;
    double best = -std::numeric_limits<double>::infinity();
    for (std::size_t i = 0; i <= now; ++i)
      if (values[i] && (std::isinf(best) || sign * *values[i] - best > rule.min_improvement)) {
        best = sign * *values[i];
        best_epoch = every * static_cast<std::int64_t>(i + 1);
      }
    const auto epoch = every * static_cast<std::int64_t>(now + 1);
    if (epoch >= rule.min_epochs && epoch - best_epoch >= rule.patience) return epoch;
  }
  return 0;
}

TEST(EarlyStop, StopsWhereItsDefinitionSays) {
  std::mt19937 random(11);
  int stopped = 0, went_on = 0;
  for (int round = 0; round < 500; ++round) {
    auto config = config_of({});
    auto& rule = config.train.early_stop;
    rule.goal = random() % 2 == 0 ? Goal::max : Goal::min;
    rule.patience = 1 + static_cast<std::int64_t>(random() % 12);
    rule.min_improvement = static_cast<double>(random() % 3) / 8;
    rule.min_epochs = static_cast<std::int64_t>(random() % 8);
    const auto every = 1 + static_cast<std::int64_t>(random() % 3);
    std::vector<std::optional<double>> values;
    const double slope = static_cast<double>(random() % 3) / 8;
    for (int i = 0; i < 12; ++i)
      values.push_back(random() % 9 == 0 ? std::nullopt
                                         : std::optional(slope * i + static_cast<double>(random() % 17) / 16));
    const auto expected = by_definition(rule, values, every);
    EXPECT_EQ(ends_after(config, values, every), expected) << round;
    ++(expected > 0 ? stopped : went_on);
  }
  EXPECT_GT(stopped, 100);
  EXPECT_GT(went_on, 20);
}

TEST(EarlyStop, EqualFiguresAreNoImprovementAndGrowthThatIsTooSlowIsNone) {
  const std::vector<std::optional<double>> flat(6, 0.5), slow{0.5, 0.505, 0.51, 0.515, 0.52, 0.525};
  EXPECT_EQ(ends_after(config_of({"train.early_stop.patience=2"}), flat, 1), 3);
  EXPECT_EQ(ends_after(config_of({"train.early_stop.patience=2"}), slow, 1), 0);
  EXPECT_EQ(ends_after(config_of({"train.early_stop.patience=2", "train.early_stop.min_improvement=0.02"}), slow, 1),
            3);
  EXPECT_EQ(ends_after(config_of({"train.early_stop.patience=2", "train.early_stop.min_epochs=5"}), flat, 1), 5);
  EXPECT_EQ(ends_after(config_of({"train.early_stop.patience=5"}), flat, 2), 8);  // epochs, not evaluations
}

// Killed after any evaluation, and that evaluation looked at again, as a run that goes on does.
TEST(EarlyStop, AStateThatIsRestoredDecidesAsBefore) {
  const auto config = config_of({"train.early_stop.patience=3"});
  const std::vector<std::optional<double>> values{0.1, 0.4, 0.3, 0.35, 0.39, 0.6};
  for (std::size_t killed = 0; killed < 5; ++killed) {
    EarlyStop first(config);
    for (std::size_t i = 0; i <= killed; ++i) first.observe(static_cast<std::int64_t>(i + 1), evaluation(values[i]));
    EarlyStop second(config);
    second.restore(first.state());
    second.observe(static_cast<std::int64_t>(killed + 1), evaluation(0.99));  // it was seen, so it changes nothing
    EXPECT_EQ(second.stops(), first.stops()) << killed;
    for (std::size_t i = killed + 1; i < 5; ++i)
      second.observe(static_cast<std::int64_t>(i + 1), evaluation(values[i]));
    EXPECT_TRUE(second.stops()) << killed;
    EXPECT_EQ(second.record(), json({{"epoch", 5},
                                     {"metric", "no_key.accuracy"},
                                     {"best", 0.4},
                                     {"best_epoch", 2},
                                     {"reason", "no_key.accuracy = 0.4 after epoch 2 was not improved in 3 epochs"}}));
  }
  // The state of another metric tells nothing.
  EarlyStop other(config_of({"train.early_stop.goal=min"}));
  EarlyStop before(config);
  before.observe(1, evaluation(0.1));
  other.restore(before.state());
  EXPECT_FALSE(other.state().best);
}

TEST(EarlyStop, AMetricThatNoEvaluationHasIsNamed) {
  const auto with = [](const std::string& metric) { return config_of({"train.early_stop.metric=" + metric}); };
  EXPECT_ERROR(EarlyStop(with("no_key.acuracy")).require_known(with("no_key.acuracy"), evaluation(0.5)),
               ExitCode::bad_input,
               AllOf(HasSubstr("command line: train.early_stop.metric = \"no_key.acuracy\": no run writes"),
                     HasSubstr("did you mean 'no_key.accuracy'?"), HasSubstr("accepted: correct_key.accuracy")));
  EXPECT_ERROR(EarlyStop(with("no_key.accuracy -")), ExitCode::bad_input, HasSubstr("cannot be read"));
  EXPECT_ERROR(EarlyStop(with("attacks.price")).require_known(with("attacks.price"), evaluation(0.5)),
               ExitCode::bad_input, HasSubstr("no run writes \"attacks.price\""));
}

TEST(EarlyStop, TheReasonOfAResult) {
  EXPECT_EQ(early_stop_text(json::parse(R"({"early_stop": {"epoch": 7, "reason": "it came no further"}})")),
            "stopped early after epoch 7: it came no further");
  for (const char* other : {"{}", "[]", "null", R"({"early_stop": 3})", R"({"early_stop": {"epoch": "x"}})",
                            R"({"early_stop": {"epoch": 3, "reason": 4}})"})
    EXPECT_EQ(early_stop_text(json::parse(other)), "") << other;
}

}  // namespace
}  // namespace spankey::early_stop_test
