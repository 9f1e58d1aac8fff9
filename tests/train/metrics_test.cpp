#include "train/metrics.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <fstream>

#include "base/file.h"
#include "support/temporary_folder.h"

namespace spankey::metrics_test {
namespace {

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
  EXPECT_EQ(read_text(path),
            "{\"global_step\":10,\"loss\":1}\n{\"global_step\":20,\"loss\":2}\n{\"global_step\":25}\n");
}

TEST(MetricsLog, StartsANewFile) {
  const test::TemporaryFolder folder;
  MetricsLog(folder / "metrics.jsonl", 0).write({{"global_step", 1}});
  EXPECT_EQ(read_text(folder / "metrics.jsonl"), "{\"global_step\":1}\n");
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
