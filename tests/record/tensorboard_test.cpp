// TensorBoard's own reader finds in an event file what metrics.jsonl has.
#include <gtest/gtest.h>

#include <filesystem>

#include "record/event_file.h"
#include "support/program.h"
#include "support/temporary_folder.h"

namespace spankey::test::tensorboard_test {
namespace {

constexpr const char* read = R"(
import sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2
found = EventAccumulator(sys.argv[1])
found.Reload()
assert sorted(found.Tags()["scalars"]) == ["correct_key.accuracy.mean", "loss"], found.Tags()
# Step 30 stands in the file of the first attempt alone, which the second one has cut away.
assert [(event.step, event.value) for event in found.Scalars("loss")] == [(10, 2.5), (20, 1.25)]
assert found.Scalars("correct_key.accuracy.mean")[0].wall_time == 1e9
content = found.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
settings = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info.hparams
assert settings["key.gamma"].number_value == 0.25
assert settings["deny.mode"].string_value == "B"
assert settings["train.drop_last"].bool_value is True
)";

TEST(TensorBoard, ReadsTheEventFiles) {
  const auto python = source(".venv-bench/bin/python");
  const TemporaryFolder folder;
  if (!std::filesystem::exists(python)) GTEST_SKIP() << "no .venv-bench (launch/setup --bench makes it)";
  if (run({python.string(), "-c", "import tensorboard"}, folder.path()).exit_code != 0)
    GTEST_SKIP() << ".venv-bench has no tensorboard (launch/setup --bench installs it)";
  Config config;
  config.key.gamma = 0.25;
  config.deny.mode = "B";
  const std::string first = "{\"global_step\": 10, \"loss\": 2.5}\n", last = "{\"global_step\": 30, \"loss\": 9}\n";
  EventFile(folder / "events", config).begin(first + last);
  const auto read_events = [&] {
    return run({python.string(), "-c", read, (folder / "events").string()}, folder.path());
  };
  // Control: what the first attempt has left alone is not taken for the whole.
  const auto half = read_events();
  EXPECT_NE(half.exit_code, 0) << half.out;
  EXPECT_NE(half.err.find("AssertionError"), std::string::npos) << half.err;
  EventFile again(folder / "events", config);
  again.begin(first);
  again.add(
      "{\"global_step\": 20, \"loss\": 1.25, \"time\": \"2001-09-09T01:46:40Z\", "
      "\"correct_key\": {\"accuracy\": {\"mean\": 0.5}}}\n");
  const auto outcome = read_events();
  EXPECT_EQ(outcome.exit_code, 0) << outcome.out << outcome.err;
}

}  // namespace
}  // namespace spankey::test::tensorboard_test
