// The report from outcomes written by hand.
#include <gtest/gtest.h>

#include <sstream>

#include "attack/attack_plots.h"
#include "attack/attack_report.h"
#include "base/file.h"
#include "support/temporary_folder.h"
#include "toy_run.h"

namespace spankey::report_test {
namespace {

using nlohmann::json;

struct Written {
  const char* id;
  Budget budget;
  std::int64_t seed;
  int correct, strip;  // of 1000
  double labels = 0, queries = 0, leaked = 0;
  const char* failure = nullptr;
};

json report_of(const std::vector<Written>& written, std::optional<double> correct = 0.9) {
  static const auto run = test::untrained_run(test::small_mlp);
  AttackPlan plan;
  std::vector<json> outcomes;
  for (const auto& w : written) {
    plan.units.push_back({&find_attack(w.id), w.budget, w.seed, 0.0});
    outcomes.push_back(
        {{"access", {{"samples", w.failure ? 0 : 1000}, {"correct", w.correct}, {"strip", w.strip}, {"rejected", 0}}},
         {"own_loss", 0.0},
         {"cost", {{"seconds", 1.0}, {"labels", w.labels}, {"queries", w.queries}, {"leaked", w.leaked}}},
         {"detail", json::object()},
         {"failure", w.failure ? json(w.failure) : json()}});
  }
  plan.preset = "quick";
  plan.not_run.push_back({"K6", "not part of the preset"});
  AttackReference reference;
  if (correct) reference.correct = {{"accuracy", {{"mean", *correct}, {"sd", 0.01}, {"keys", 4}}}};
  return attack_report(run, plan, outcomes, reference);
}

// The lines of a text, without the empty ones.
std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);)
    if (!line.empty()) lines.push_back(line);
  return lines;
}

const Budget ten{.images = 10, .steps = 300, .keys = 0, .variant = ""};
const Budget sixty{.images = 60, .steps = 300, .keys = 0, .variant = ""};

TEST(AttackReport, WorstCaseIsTheBestAttackWithoutAValidKey) {
  const auto report = report_of({{"R0", {.keys = 4, .variant = ""}, 0, 900, 900},
                                 {"O1", {}, 0, 10, 300},
                                 {"K4", {.leaked = 1}, 0, 890, 890, 0, 0, 1},
                                 {"K5", ten, 0, 600, 700, 10},
                                 {"K5", ten, 1, 620, 720, 10},
                                 {"S0", ten, 0, 800, 800, 10},
                                 {"S0", ten, 1, 500, 500, 10}});
  EXPECT_EQ(report.at("worst_case").at("id"), "K5");
  EXPECT_NEAR(report.at("worst_case").at("access").get<double>(), 0.71, 1e-12);
  EXPECT_NEAR(report.at("worst_case").at("max").get<double>(), 0.72, 1e-12);
  EXPECT_NEAR(report.at("withheld").get<double>(), 0.19, 1e-12);
  // Owner first, then worst first, then training from scratch.
  std::vector<std::string> ids;
  for (const auto& row : report.at("rows")) ids.push_back(row.at("id"));
  EXPECT_EQ(ids, (std::vector<std::string>{"R0", "K4", "K5", "O1", "S0"}));
  // Without labels only the class logits are there to read.
  EXPECT_EQ(report.at("worst_case_within")[0].at("id"), "O1");
  EXPECT_EQ(report.at("worst_case_within")[2].at("id"), "K5");
}

TEST(AttackReport, WorstCaseNeverFallsWhenRowsAreAdded) {
  std::vector<Written> rows{{"O1", {}, 0, 10, 300}};
  double before = 0.0;
  for (const int strip : {200, 400, 100, 850, 840}) {
    rows.push_back({"K5", {.images = std::ssize(rows), .steps = 3, .keys = 0, .variant = ""}, 0, 0, strip, 1});
    const double worst = report_of(rows).at("worst_case").at("access");
    EXPECT_GE(worst, before);
    before = worst;
  }
  EXPECT_NEAR(before, 0.85, 1e-12);
}

TEST(AttackReport, OutsidersAreJudgedAsShipped) {
  const auto report = report_of({{"K1", {.images = 256, .keys = 100, .variant = ""}, 0, 40, 800, 256, 25600}});
  EXPECT_NEAR(report.at("rows")[0].at("access").at("mean").get<double>(), 0.04, 1e-12);
}

TEST(AttackReport, GainsArePairedBySeed) {
  const auto report = report_of({{"K5", ten, 0, 0, 700, 10},
                                 {"K5", ten, 1, 0, 500, 10},
                                 {"K5", sixty, 0, 0, 900, 60},
                                 {"S0", ten, 0, 600, 600, 10},
                                 {"S0", ten, 1, 300, 300, 10}});
  for (const auto& row : report.at("rows")) {
    if (row.at("id") != "K5") continue;
    const auto& gain = row.at("gain_over_scratch");
    if (row.at("budget").at("images") == 60) {
      EXPECT_TRUE(gain.is_null());  // nothing to pair with
      continue;
    }
    EXPECT_NEAR(gain.at("mean").get<double>(), 0.15, 1e-12);  // of .1 and .2
    EXPECT_NEAR(gain.at("se").get<double>(), std::sqrt(0.005) / std::sqrt(2.0), 1e-12);
  }
}

// Augmentation is worth something without the network, too.
TEST(AttackReport, GainsOfAugmentedRowsAreOverAugmentedScratch) {
  Budget augmented = ten;
  augmented.variant = "augmented";
  std::vector<Written> rows{{"W1", augmented, 0, 0, 700, 10}, {"S0", ten, 0, 400, 400, 10}};
  EXPECT_TRUE(report_of(rows).at("rows")[0].at("gain_over_scratch").is_null());
  rows.push_back({"S0", augmented, 0, 650, 650, 10});
  const auto report = report_of(rows);
  EXPECT_NEAR(report.at("rows")[0].at("gain_over_scratch").at("mean").get<double>(), 0.05, 1e-12);
  EXPECT_EQ(report.at("reference").at("scratch").size(), 1U);
}

TEST(AttackReport, PriceOfEntryIsTheCheapestSuccess) {
  const std::vector<Written> rows{{"O1", {}, 0, 10, 300},
                                  {"K5", ten, 0, 0, 500, 10},
                                  {"K5", sixty, 0, 0, 890, 60},
                                  {"W2", sixty, 0, 0, 600, 60},
                                  {"K4", {.leaked = 1}, 0, 895, 895, 0, 0, 1},
                                  {"K4", {.leaked = 3}, 0, 899, 899, 0, 0, 3}};
  const auto price = report_of(rows).at("price_of_entry");
  EXPECT_EQ(price.at("labels").at("labels"), 60);
  EXPECT_EQ(price.at("labels").at("id"), "K5");
  EXPECT_EQ(price.at("leaked").at("leaked"), 1);
  EXPECT_TRUE(price.at("queries").is_null());
  EXPECT_TRUE(report_of({rows[0], rows[1]}).at("price_of_entry").at("labels").is_null());
  // Without a correct key to compare with nothing is said.
  const auto unknown = report_of(rows, std::nullopt);
  EXPECT_TRUE(unknown.at("price_of_entry").at("labels").is_null());
  EXPECT_TRUE(unknown.at("withheld").is_null());
}

TEST(AttackReport, TheReferenceRowStandsInForAMissingResult) {
  const auto report = report_of({{"R0", {.keys = 4, .variant = ""}, 0, 800, 800}, {"O1", {}, 0, 0, 300}}, std::nullopt);
  EXPECT_NEAR(report.at("reference").at("correct").at("accuracy").at("mean").get<double>(), 0.8, 1e-12);
  EXPECT_NEAR(report.at("withheld").get<double>(), 0.5, 1e-12);
}

TEST(AttackReport, SaysWhatFailedAndWhatWasNotTried) {
  const auto report =
      report_of({{"O1", {}, 0, 10, 300}, {"K5", ten, 0, 0, 0, 10, 0, 0, "the loss is not finite in step 3"}});
  EXPECT_EQ(report.at("worst_case").at("id"), "O1");
  EXPECT_EQ(report.at("not_run")[0].at("id"), "K6");
  const auto text = to_markdown(attack_document(report));
  EXPECT_NE(text.find("K6 (not part of the preset)"), std::string::npos) << text;
  EXPECT_NE(text.find("the loss is not finite in step 3"), std::string::npos);
  EXPECT_NE(text.find("access conditioning"), std::string::npos);
  EXPECT_EQ(text.find("encrypt"), std::string::npos);
  EXPECT_LT(text.find("Worst case: 0.3000 by O1"), text.find("Withheld: 0.6000"));
  const test::TemporaryFolder folder;
  write_attack_report(report, folder / "attack");
  EXPECT_EQ(json::parse(read_text(folder / "attack/attack.json")), report);
  for (const auto& line : lines_of(text))
    EXPECT_NE(read_text(folder / "attack/attack.md").find(line), std::string::npos) << line;
  EXPECT_NE(read_text(folder / "attack/attack.html").find("0.3000 by O1"), std::string::npos);
  const auto page = from_json_text(read_text(folder / "attack" / document_file), "page");
  EXPECT_EQ(page.summary, attack_document(report).summary);
}

TEST(AttackReport, TheScreenBeginsWithTheWorstCaseAndEndsWithWhatItIs) {
  const auto screen = attack_screen(report_of({{"R0", {.keys = 4}, 0, 900, 900},
                                               {"O1", {}, 0, 10, 300},
                                               {"K5", ten, 0, 600, 700, 10},
                                               {"S0", ten, 0, 400, 400, 10}}));
  const auto lines = lines_of(screen);
  EXPECT_EQ(lines.at(0), "worst case: 0.7000 by K5 (free key, 10 images, 300 steps), best seed 0.7000") << screen;
  EXPECT_EQ(lines.at(1), "withheld: 0.2000 = correct key 0.9000 - worst case");
  EXPECT_EQ(lines.at(lines.size() - 2), "not run: K6 (not part of the preset)");
  EXPECT_NE(lines.back().find("access conditioning"), std::string::npos);
  EXPECT_EQ(screen.find("R0"), std::string::npos);  // it stands among what the rows are held against
  EXPECT_LT(screen.find("K5   free key"), screen.find("O1   no key"));
  EXPECT_LT(screen.find("O1   no key"), screen.find("S0   from scratch"));
}

TEST(AttackReport, WhatTheRowsAreHeldAgainst) {
  const auto report = report_of({{"O1", {}, 0, 10, 300}, {"S0", ten, 0, 300, 300, 10}, {"S0", ten, 1, 500, 500, 10}});
  const auto& reference = report.at("reference");
  EXPECT_EQ(reference.at("no_key"), (json{{"accuracy", 0.01}, {"strip_accuracy", 0.3}}));
  EXPECT_EQ(reference.at("correct").at("accuracy"), (json{{"mean", 0.9}, {"sd", 0.01}, {"keys", 4}}));
  EXPECT_TRUE(reference.at("vanilla").is_null());
  EXPECT_TRUE(report.at("utility_cost").is_null());
  ASSERT_EQ(reference.at("scratch").size(), 1U);
  EXPECT_EQ(reference.at("scratch")[0].at("images"), 10);
  EXPECT_NEAR(reference.at("scratch")[0].at("accuracy").at("mean").get<double>(), 0.4, 1e-12);
  EXPECT_EQ(report.at("rows")[0].at("knows"), json::array({"weights"}));
}

// 1000 digits of ten classes: fewer than one in ten by far is no accident. Where only the reject class is right, that
// is.
TEST(AttackReport, BelowChanceCarriesTheLabel) {
  const auto report = report_of({{"O1", {}, 0, 10, 20}, {"K5", ten, 0, 0, 700, 10}});
  for (const auto& row : report.at("rows")) {
    if (row.at("id") == "O1")
      EXPECT_EQ(row.at("below_chance"), "below chance: the answers carry the label");
    else
      EXPECT_TRUE(row.at("below_chance").is_null()) << row;
  }
  EXPECT_NE(attack_screen(report).find("the answers carry the label"), std::string::npos);
}

// Whoever holds the weights is no user of the network as shipped.
TEST(AttackReport, AsShippedCountsWhoHoldsNoWeights) {
  const auto report = report_of({{"O1", {}, 0, 10, 300},
                                 {"K1", {.images = 256, .keys = 100}, 0, 40, 800, 256, 25600},
                                 {"K5", ten, 0, 600, 700, 10}});
  EXPECT_EQ(report.at("worst_case").at("id"), "K5");
  EXPECT_EQ(report.at("worst_case_as_shipped").at("id"), "K1");
  EXPECT_NEAR(report.at("worst_case_as_shipped").at("access").get<double>(), 0.04, 1e-12);
}

// Every point of a curve stands in the data file of its plot, and a plot without rows is not there.
TEST(AttackReport, PlotsAreDrawnFromTheRows) {
  const test::TemporaryFolder folder;
  PlotFolder plots(folder.path(), "");
  const auto figures = draw_attacks(
      report_of(
          {{"K5", ten, 0, 0, 700, 10}, {"K5", sixty, 0, 0, 800, 60}, {"K4", {.leaked = 3}, 0, 870, 890, 0, 0, 3}}),
      plots);
  EXPECT_EQ(figures.size(), plots.gnuplot_missing() ? 0U : 2U);
  const auto images = read_text(folder / "accuracy_by_images.dat"), collusion = read_text(folder / "collusion.dat");
  EXPECT_NE(images.find("10 0.7 0.7 0.7"), std::string::npos) << images;
  EXPECT_NE(images.find("60 0.8 0.8 0.8"), std::string::npos) << images;
  EXPECT_NE(collusion.find("3 0.87 0.87 0.87"), std::string::npos) << collusion;
  EXPECT_FALSE(std::filesystem::exists(folder / "query_curve.dat"));
}

}  // namespace
}  // namespace spankey::report_test
