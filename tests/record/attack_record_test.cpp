// What readers of a run take from attack.json.
#include "record/attack_record.h"

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "record/verdict.h"
#include "support/made_attacks.h"
#include "support/temporary_folder.h"

namespace spankey::attack_record_test {
namespace {

using nlohmann::json;
using testing::HasSubstr;

const std::string weights(64, 'a');

json result() {
  const auto key = [](double accuracy) {
    return json{{"accuracy", {{"mean", accuracy}, {"sd", 0.01}, {"min", accuracy}, {"max", accuracy}, {"keys", 4}}},
                {"strip_accuracy", {{"mean", accuracy}, {"max", accuracy}}},
                {"reject_fraction", nullptr}};
  };
  json access{{"no_key", {{"accuracy", 0.0}, {"strip_accuracy", 0.3}, {"reject_fraction", nullptr}}},
              {"correct_key", key(0.9)},
              {"wrong_key", key(0.2)},
              {"majority_rate", 0.1},
              {"test_samples", 1000}};
  access["verdict"] = to_json(judge_access(access));
  return access;
}

class AttackRecord : public testing::Test {
 protected:
  void write(const std::string& text) const {
    std::filesystem::create_directories(folder / "attack");
    write_durably(folder / "attack/attack.json", text);
  }
  json read() const { return read_attacks({folder.path()}, weights); }

  test::TemporaryFolder folder;
};

TEST_F(AttackRecord, OnlyTheAttacksOfTheseWeightsCount) {
  EXPECT_TRUE(read().is_null());
  const auto attacks = test::made_attacks({{"O1", 0, 0.3}}, weights);
  write(attacks.dump());
  EXPECT_EQ(read(), attacks);
  write(test::made_attacks({{"O1", 0, 0.3}}, std::string(64, 'b')).dump());
  EXPECT_TRUE(read().is_null());
}

TEST_F(AttackRecord, ADamagedFileIsLeftOut) {
  const auto whole = test::made_attacks({{"O1", 0, 0.3}, {"K5", 10, 0.7}}, weights);
  std::vector<std::string> damaged{"", "[]", "{}", whole.dump().substr(0, 300)};
  for (const char* name : {"rows", "worst_case", "price_of_entry", "preset", "majority_rate"}) {
    auto without = whole;
    without.erase(name);
    damaged.push_back(without.dump());
    without[name] = 7;
    if (name != std::string("majority_rate")) damaged.push_back(without.dump());
  }
  auto no_share = whole;
  no_share["rows"][1]["access"]["mean"] = 1.5;
  damaged.push_back(no_share.dump());
  for (const auto& text : damaged) {
    write(text);
    EXPECT_TRUE(read().is_null()) << text;
  }
}

TEST_F(AttackRecord, TheSummaryHasTheBestFormWithSoManyImages) {
  const auto summary = attack_summary(test::made_attacks({{"O1", 0, 0.3},
                                                          {"O2a", 10, 0.4},
                                                          {"O2c", 10, 0.5},
                                                          {"K5", 10, 0.6},
                                                          {"K5", 10, 0.7},
                                                          {"K5", 100, 0.8},
                                                          {"S0", 60, 0.95},
                                                          {"K4", 0, 0.89, 0.89, 0.89, 3}},
                                                         weights));
  EXPECT_EQ(summary.at("strip"), 0.3);
  EXPECT_EQ(summary.at("readout_10"), 0.5);
  EXPECT_EQ(summary.at("free_key_10"), 0.7);
  EXPECT_EQ(summary.at("free_key_100"), 0.8);
  EXPECT_EQ(summary.at("scratch_60"), 0.95);
  EXPECT_FALSE(summary.contains("biases_10"));
  EXPECT_EQ(summary.at("worst_case").at("id"), "K5");
  EXPECT_TRUE(summary.at("price").is_null());  // .82 would be 0.9 of what is above chance
  EXPECT_EQ(summary.at("most_labels"), 100.0);
}

TEST_F(AttackRecord, TheVerdictCountsTheWorstAttack) {
  const auto before = judge_access(result());
  EXPECT_EQ(before.worst.accuracy, 0.3);
  std::vector<test::MadeAttack> rows;
  double worst = before.worst.accuracy;
  for (const double access : {0.2, 0.6, 0.4, 0.88}) {
    rows.push_back({"K5", 10, access});
    auto access_json = result();
    count_attacks(access_json, test::made_attacks(rows, weights));
    const auto after = judge_access(access_json);
    EXPECT_GE(after.worst.accuracy, worst);
    EXPECT_EQ(access_json.at("verdict").at("worst").at("accuracy"), after.worst.accuracy);
    worst = after.worst.accuracy;
  }
  EXPECT_EQ(worst, 0.88);
  auto last = result();
  count_attacks(last, test::made_attacks(rows, weights));
  EXPECT_EQ(judge_access(last).worst.text(), "attack K5, attack K5, 10 images");
  EXPECT_THAT(last.at("verdict").at("text").get<std::string>(),
              HasSubstr("at most 0.880 without a valid key (attack K5"));
  EXPECT_EQ(judge_access(last).worst_as_shipped.accuracy, before.worst_as_shipped.accuracy);
}

TEST_F(AttackRecord, CurvesAreInTheOrderOfTheirNumbers) {
  const auto attacks = test::made_attacks(
      {{"K5", 100, 0.8, 0.7, 0.9}, {"K5", 1, 0.5, 0.4, 0.6}, {"S0", 10, 0.3}, {"K4", 0, 0.85, 0.8, 0.9, 3}}, weights);
  const auto by_images = curves_by_images(attacks);
  ASSERT_EQ(by_images.size(), 2U);
  EXPECT_EQ(by_images[0].points, (std::vector<std::vector<double>>{{1, 0.5, 0.4, 0.6}, {100, 0.8, 0.7, 0.9}}));
  EXPECT_EQ(by_images[1].title, "from scratch");
  EXPECT_TRUE(curves_by_queries(attacks).empty());
  ASSERT_EQ(curves_by_leaked_keys(attacks).size(), 1U);
  EXPECT_EQ(curves_by_leaked_keys(attacks)[0].points[0][0], 3);
}

}  // namespace
}  // namespace spankey::attack_record_test
