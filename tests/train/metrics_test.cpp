#include "train/metrics.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <sys/resource.h>

#include <csignal>
#include <fstream>
#include <regex>
#include <sstream>
#include <string>
#include <vector>

#include "base/file.h"
#include "support/temporary_folder.h"

namespace spankey::metrics_test {
namespace {

// Returns one line without the figures that time decides.
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
  log.flush();
  const auto second = nlohmann::json::parse(read_text(path).substr(read_text(path).find('\n') + 1));
  EXPECT_FALSE(second.contains("started_at"));
  const std::regex iso(R"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)");
  EXPECT_TRUE(std::regex_match(second.at("time").get<std::string>(), iso));
  EXPECT_GT(second["time"], "2026");
  EXPECT_NE(MetricsLog(path, 0).started_at(), "2001-02-03T04:05:06Z");  // cut back to nothing: begun anew
}

// A limit on the size of files stands for a full disk.
TEST(MetricsLog, NeitherWaitsNorEndsWhereTheFileCannotBeWritten) {
  const test::TemporaryFolder folder;
  const auto path = folder / "metrics.jsonl";
  const nlohmann::json first{{"global_step", 1}, {"long", std::string(4096, '-')}};
  std::string said;
  {
    MetricsLog log(path, 0);
    log.write(first);
    log.flush();
    struct rlimit before {};
    getrlimit(RLIMIT_FSIZE, &before);
    const auto handler = std::signal(SIGXFSZ, SIG_IGN);
    const struct rlimit full { 4096, before.rlim_max };
    setrlimit(RLIMIT_FSIZE, &full);  // the first line takes it all, what is said on standard error does not
    testing::internal::CaptureStderr();
    for (int step = 2; step < 5; ++step) {
      log.write({{"global_step", step}});
      log.flush();
    }
    setrlimit(RLIMIT_FSIZE, &before);
    std::signal(SIGXFSZ, handler);
    log.write({{"global_step", 5}});
    log.flush();
    said = testing::internal::GetCapturedStderr();
  }
  std::string expected = first.dump() + "\n", written;
  for (int step = 2; step < 6; ++step) expected += fmt::format("{{\"global_step\":{}}}\n", step);
  std::istringstream lines(read_text(path));
  for (std::string line; std::getline(lines, line);) written += without_time(line);
  EXPECT_EQ(written, expected);
  EXPECT_NE(said.find("kept and tried again"), std::string::npos) << said;
  EXPECT_EQ(said.find("kept and tried again"), said.rfind("kept and tried again")) << "told more than once: " << said;
}

TEST(MetricsLog, KnowsWhichEvaluationsItHolds) {
  const test::TemporaryFolder folder;
  const auto path = folder / "metrics.jsonl";
  std::ofstream(path) << "{\"global_step\":8,\"kind\":\"eval\"}\n{\"global_step\":16,\"kind\":\"step\"}\n"
                      << "{\"global_step\":24,\"kind\":\"eval\"}\n";
  const MetricsLog log(path, 16);
  EXPECT_EQ(log.evaluation_after(8).at("global_step"), 8);
  EXPECT_TRUE(log.evaluation_after(16).is_null());
  EXPECT_TRUE(log.evaluation_after(24).is_null());  // cut off
}

TEST(FormatProgress, LeavesOutWhatMattersLeast) {
  const Progress p{.epoch = 5,
                   .epochs = 6,
                   .step = 16,
                   .steps = 32,
                   .loss = 0.2141,
                   .ce = 0.11,
                   .deny = 1.0411,
                   .samples_per_second = 1234567.0,
                   .seconds_left = 61.0};
  const auto whole = format_progress(p);
  EXPECT_EQ(format_progress(p, whole.size()), whole);
  for (std::size_t width = 9; width < whole.size(); ++width) EXPECT_LE(format_progress(p, width).size(), width);
  EXPECT_EQ(format_progress(p, 97),
            "epoch 6/6  #####-----  16/32   loss 0.214  ce 0.110  deny 1.041   1,234,567 samples/s   1:01 left");
  EXPECT_EQ(format_progress(p, 79), "epoch 6/6  #####-----  16/32   loss 0.214   1,234,567 samples/s   1:01 left");
  EXPECT_EQ(format_progress(p, 39), "epoch 6/6  16/32   1:01 left");
  EXPECT_EQ(format_progress(p, 22), "epoch 6/6   1:01 left");
  EXPECT_EQ(format_progress(p, 10), "epoch 6/6");
}

TEST(FormatShare, TellsTheShareAndTheTimeLeft) {
  EXPECT_EQ(format_share("evaluation", 0.256, 75, 79), "evaluation  ##--------  25 %   1:15 left");
  EXPECT_EQ(format_share("evaluation", 0.256, 75, 20), "evaluation  25 %");
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
