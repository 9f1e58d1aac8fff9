#include "record/listing.h"

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include <chrono>
#include <fstream>

#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace spankey::listing_test {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

// Figures as the program writes them, of a network with ten classes and 1,000 test samples.
constexpr const char* result =
    R"({"no_key": {"accuracy": 0.01, "strip_accuracy": 0.4, "reject_fraction": null},
        "correct_key": {"accuracy": {"mean": 0.9, "sd": 0.0, "min": 0.9, "max": 0.9, "keys": 4},
                        "strip_accuracy": {"mean": 0.9, "sd": 0.0, "min": 0.9, "max": 0.9, "keys": 4}},
        "wrong_key": {"accuracy": {"mean": 0.1, "sd": 0.0, "min": 0.1, "max": 0.1, "keys": 4},
                      "strip_accuracy": {"mean": 0.3, "sd": 0.0, "min": 0.3, "max": 0.3, "keys": 4}},
        "majority_rate": 0.1, "minority_rate": 0.1, "test_samples": 1000, "samples": 1000})";

class Listed : public testing::Test {
 protected:
  void write(const std::string& name, const std::string& text = "") const {
    const auto file = folder_ / name;
    fs::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }
  void make_run(const std::string& name) const {
    write(name + "/config.toml");
    write(name + "/metrics.jsonl");
  }

  test::TemporaryFolder folder_;
};

TEST_F(Listed, EachStateIsTold) {
  make_run("a/done");
  write("a/done/result.json", result);
  make_run("b_stopped");
  write("b_stopped/checkpoints/step_00000120.h5");
  write("b_stopped/checkpoints/step_00000040.h5");
  make_run("c_begun");
  make_run("d_running");
  const Lease lease(folder_ / "d_running");
  const auto found = list_runs(folder_.path());
  ASSERT_EQ(found.runs.size(), 4U);
  EXPECT_EQ(found.runs[0].folder, "a/done");
  EXPECT_EQ(found.runs[0].state, RunState::done);
  EXPECT_EQ(found.runs[0].correct, 0.9);
  EXPECT_EQ(found.runs[0].no_key, 0.01);
  EXPECT_EQ(found.runs[0].worst, 0.4);
  EXPECT_NEAR(*found.runs[0].withheld, 0.5, 1e-12);
  EXPECT_EQ(found.runs[1].state, RunState::stopped);
  EXPECT_EQ(found.runs[1].step, 120);
  EXPECT_EQ(found.runs[2].state, RunState::begun);
  EXPECT_EQ(found.runs[3].state, RunState::running);
}

TEST_F(Listed, ARunThatStoppedEarlySaysSo) {
  make_run("a");
  write("a/result.json", result);
  make_run("b");
  auto early = nlohmann::json::parse(result);
  early["early_stop"] = {{"epoch", 7}, {"reason", "it came no further"}};
  write("b/result.json", early.dump());
  const auto found = list_runs(folder_.path());
  ASSERT_EQ(found.runs.size(), 2U);
  EXPECT_EQ(found.runs[0].stopped_early, "");
  EXPECT_EQ(found.runs[1].stopped_early, "stopped early after epoch 7: it came no further");
  EXPECT_EQ(found.runs[1].state, RunState::done);
  EXPECT_THAT(listing_text(found), HasSubstr("done, early"));
  EXPECT_FALSE(to_json(found).at("runs").at(0).contains("stopped_early"));
  EXPECT_EQ(to_json(found).at("runs").at(1).at("stopped_early"), found.runs[1].stopped_early);
}

TEST_F(Listed, AnUnfinishedRunHasTheFiguresOfItsLastEvaluation) {
  make_run("run");
  auto evaluation = nlohmann::json::parse(result);
  evaluation.update({{"kind", "eval"}, {"epoch", 0}, {"global_step", 40}});
  write("run/config.toml", "[train]\nepochs = 4\n");
  write("run/metrics.jsonl", evaluation.dump() + "\n");
  const auto found = list_runs(folder_.path());
  EXPECT_EQ(found.runs.at(0).state, RunState::begun);
  EXPECT_EQ(found.runs.at(0).correct, 0.9);
  EXPECT_EQ(found.runs.at(0).no_key, 0.01);
}

TEST_F(Listed, AFailureIsToldWithItsReason) {
  make_run("run");
  write("run/log/rank0.log", "2026-01-01 00:00:00.000 error: the loss is no number\n");
  const auto found = list_runs(folder_.path());
  EXPECT_EQ(found.runs.at(0).state, RunState::failed);
  EXPECT_THAT(listing_text(found), HasSubstr("run: the loss is no number"));
  EXPECT_EQ(to_json(found).at("runs").at(0).at("reason"), "the loss is no number");
  write("run/log/rank0.log",
        "2026-01-01 00:00:00.000 error: the loss is no number\n2026-01-01 00:00:01.000 info: begun\n");
  EXPECT_EQ(list_runs(folder_.path()).runs.at(0).state, RunState::begun);
}

TEST_F(Listed, WhatIsNoRunIsLeftOut) {
  write("notes/config.toml");  // a configuration alone
  make_run(".hidden/run");
  make_run("run");
  make_run("run/inner");
  fs::create_directory_symlink(folder_ / "run", folder_ / "link");
  const auto found = list_runs(folder_.path());
  ASSERT_EQ(found.runs.size(), 1U);
  EXPECT_EQ(found.runs[0].folder, "run");
  EXPECT_EQ(list_runs(folder_ / "run").runs.at(0).folder, ".");
  EXPECT_EQ(listing_text(list_runs(folder_ / "notes")), "no run and no sweep\n");
}

TEST_F(Listed, AnUnreadableResultHidesNoOtherRun) {
  make_run("a");
  write("a/result.json", "{\"no_key\": ");
  make_run("b");
  write("b/result.json", result);
  const auto found = list_runs(folder_.path());
  ASSERT_EQ(found.runs.size(), 2U);
  EXPECT_FALSE(found.runs[0].unreadable.empty());
  EXPECT_TRUE(found.runs[1].unreadable.empty()) << found.runs[1].unreadable;
  EXPECT_THAT(listing_text(found), HasSubstr("unreadable"));
}

TEST_F(Listed, SweepsAreCounted) {
  write("grid/sweep.json", R"({"name": "grid", "base": "b.toml", "base_text": "", "store": ")" +
                               (folder_ / "store").string() + R"(", "max_hours": 0.0, "cost_source": "a rule",
        "trials": [{"id": "0123456789abcdef", "hash": "0123456789abcdef01", "settings": [["run.seed", "1"]],
                    "label": "run.seed=1", "seconds": 2.0}]})");
  const auto found = list_runs(folder_.path());
  ASSERT_EQ(found.sweeps.size(), 1U);
  EXPECT_EQ(found.sweeps[0].name, "grid");
  EXPECT_EQ(found.sweeps[0].counts.waiting, 1);
  fs::last_write_time(folder_ / "grid/sweep.json", fs::file_time_type::clock::now() - std::chrono::hours(5));
  EXPECT_GT(list_runs(folder_.path()).sweeps[0].age_seconds, 4 * 3600);
  write("store/0123456789abcdef/metrics.jsonl");
  EXPECT_LT(list_runs(folder_.path()).sweeps[0].age_seconds, 3600);
  const auto json = to_json(found);
  EXPECT_EQ(json.at("sweeps").at(0).at("trials"), 1);
  EXPECT_EQ(json.at("runs").size(), 0U);
}

TEST_F(Listed, AFolderThatIsNotThereIsRefused) {
  EXPECT_ERROR(list_runs(folder_ / "nowhere"), ExitCode::bad_input,
               (folder_ / "nowhere").string() + ": No such file or directory; accepted: a folder");
}

}  // namespace
}  // namespace spankey::listing_test
