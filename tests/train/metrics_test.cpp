#include "train/metrics.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <fstream>
#include <regex>
#include <string>

#include "base/file.h"
#include "support/temporary_folder.h"

namespace spankey::metrics_test {
namespace {

// Of one line.
std::string without_time(const std::string& text) {
  auto line = nlohmann::json::parse(text);
  EXPECT_EQ(line.erase("time"), 1U);
  line.erase("started_at");
  return line.dump() + "\n";
}

TEST(MetricsLog, IsCutBackToTheCursorWithoutATornLineOrAnEarlierResult) {
  const test::TemporaryFolder folder;
  const auto path = folder / "metrics.jsonl";
  std::ofstream(path) << R"({"global_step":10,"loss":1})"
                      << "\n"
                      << R"({"global_step":20,"loss":2})"
                      << "\n"
                      << R"({"global_step":30,"loss":3})"
                      << "\n"
                      << R"({"global_step":20,"kind":"result"})"
                      << "\n"
                      << R"({"global_step":20,"lo)";
  {
    MetricsLog log(path, 20);
    log.write({{"global_step", 25}});
  }
  const std::string kept = "{\"global_step\":10,\"loss\":1}\n{\"global_step\":20,\"loss\":2}\n";
  const auto text = read_text(path);
  EXPECT_EQ(text.substr(0, kept.size()), kept);
  EXPECT_EQ(without_time(text.substr(kept.size())), "{\"global_step\":25}\n");
}

TEST(MetricsLog, StartsANewFile) {
  const test::TemporaryFolder folder;
  MetricsLog(folder / "metrics.jsonl", 0).write({{"global_step", 1}});
  EXPECT_EQ(without_time(read_text(folder / "metrics.jsonl")), "{\"global_step\":1}\n");
}

// The first line tells when the run was begun, and later attempts go on telling it.
TEST(MetricsLog, KnowsWhenTheFirstAttemptWasBegun) {
  const test::TemporaryFolder folder;
  const auto path = folder / "metrics.jsonl";
  std::ofstream(path) << R"({"global_step":10,"started_at":"2001-02-03T04:05:06Z","time":"2001-02-03T04:05:07Z"})"
                      << "\n";
  MetricsLog log(path, 10);
  EXPECT_EQ(log.started_at(), "2001-02-03T04:05:06Z");
  log.write({{"global_step", 20}});
  const auto second = nlohmann::json::parse(read_text(path).substr(read_text(path).find('\n') + 1));
  EXPECT_FALSE(second.contains("started_at"));
  const std::regex iso(R"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)");
  EXPECT_TRUE(std::regex_match(second.at("time").get<std::string>(), iso));
  EXPECT_GT(second["time"], "2026");
  EXPECT_NE(MetricsLog(path, 0).started_at(), "2001-02-03T04:05:06Z");  // cut back to nothing: begun anew
}

TEST(FormatProgress, ShowsWhereTheRunStands) {
  EXPECT_EQ(
      format_progress({.epoch = 5,
                       .epochs = 6,
                       .step = 16,
                       .steps = 32,
                       .loss = 0.2141,
                       .ce = 0.11,
                       .deny = 1.0411,
                       .samples_per_second = 1234567.0,
                       .seconds_left = 61.0}),
      "epoch 6/6  ################----------------  16/32   loss 0.214  ce 0.110  deny 1.041   1,234,567 samples/s"
      "   1:01 left");
}

}  // namespace
}  // namespace spankey::metrics_test
