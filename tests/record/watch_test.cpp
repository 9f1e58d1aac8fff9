#include <gmock/gmock.h>
#include <nlohmann/json.hpp>
#include <sys/stat.h>

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <map>
#include <sstream>

#include "base/file.h"
#include "base/text.h"
#include "config/names.h"
#include "record/run_watch.h"
#include "record/watch_table.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace spankey::watch_test {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

std::string step_line(int global_step, int step, int epoch, double loss) {
  return fmt::format(
      R"({{"kind": "step", "global_step": {}, "step": {}, "steps_per_epoch": 100, "epoch": {}, "loss": {}, "samples_per_second": 1000}})"
      "\n",
      global_step, step, epoch, loss);
}

constexpr const char* eval_line =
    R"({"kind": "eval", "global_step": 100, "epoch": 0, "correct_key": {"accuracy": {"mean": 0.75}},)"
    R"( "no_key": {"accuracy": 0.125, "strip_accuracy": 0.5}})"
    "\n";

class Watched : public testing::Test {
 protected:
  void write(const std::string& name, const std::string& text, std::ios::openmode mode = std::ios::trunc) const {
    const auto file = folder_ / name;
    fs::create_directories(file.parent_path());
    std::ofstream(file, std::ios::out | mode) << text;
  }
  void plan(const std::vector<std::string>& labels) const {
    std::string trials;
    for (std::size_t i = 0; i < labels.size(); ++i)
      trials += fmt::format(
          R"({}{{"id": "{}", "hash": "{}", "settings": [["run.seed", "{}"]], "label": "{}", "seconds": 2.0}})",
          i > 0 ? "," : "", id(i), id(i), i, labels[i]);
    write("grid/sweep.json", fmt::format(R"({{"name": "grid", "base": "b.toml", "base_text": "", "store": "{}",
            "max_hours": 0.0, "cost_source": "a rule", "trials": [{}]}})",
                                         (folder_ / "store").string(), trials));
  }
  static std::string id(std::size_t trial) { return fmt::format("{:016}", trial); }
  void trial_state(std::size_t trial, const std::string& state, int exit_code, const std::string& reason) const {
    write(
        fmt::format("store/{}/sweep/state.json", id(trial)),
        fmt::format(
            R"({{"state": "{}", "attempts": 1, "idle_attempts": 0, "step": 3, "exit_code": {}, "reason": "{}", "seconds": 1.0}})",
            state, exit_code, reason));
  }
  // Path, size, mode and time of everything.
  std::string snapshot() const {
    std::map<std::string, std::string> found;
    for (const auto& entry : fs::recursive_directory_iterator(folder_.path())) {
      struct stat facts {};
      EXPECT_EQ(lstat(entry.path().c_str(), &facts), 0);
      found[entry.path().string()] =
          fmt::format("{} {} {}.{}", facts.st_size, facts.st_mode, facts.st_mtim.tv_sec, facts.st_mtim.tv_nsec);
    }
    std::string text;
    for (const auto& [path, facts] : found) text += path + " " + facts + "\n";
    return text;
  }

  test::TemporaryFolder folder_;
};

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

const WatchOrder& order(std::string_view name) {
  return find_named(watch_orders(), name, "--sort");
}

std::vector<std::string> names_by(const WatchView& view, std::string_view name) {
  std::vector<std::string> names;
  const auto json = to_json(view, order(name));
  for (const auto& run : json.at("runs")) names.push_back(run.at("name"));
  return names;
}

TEST_F(Watched, MetricsAreReadAsTheyGrow) {
  write("metrics.jsonl", step_line(10, 10, 0, 2.0));
  MetricsReader reader(folder_ / "metrics.jsonl");
  EXPECT_EQ(reader.look().loss, 2.0);
  write("metrics.jsonl", eval_line + std::string(R"({"kind": "step", "global_step": 110, )"), std::ios::app);
  EXPECT_EQ(reader.look().correct, 0.75);
  EXPECT_EQ(reader.look().strip, 0.5);
  EXPECT_EQ(reader.look().step, 100);  // the line without an end is not read
  write("metrics.jsonl",
        R"("step": 10, "epoch": 1, "loss": 1.5})"
        "\nnonsense\n",
        std::ios::app);
  EXPECT_EQ(reader.look().step, 110);
  EXPECT_THAT(reader.look().losses.means(), ElementsAre(2.0, 1.5));
  EXPECT_EQ(steps_left(reader.look(), 3), 190);
  // An attempt that goes on from a checkpoint cuts the file back.
  write("metrics.jsonl", step_line(10, 10, 0, 2.0));
  EXPECT_EQ(reader.look().step, 10);
  EXPECT_FALSE(reader.look().correct);
}

TEST_F(Watched, LinesOfEarlierVersionsTellTheLengthOfAnEpochLater) {
  write("metrics.jsonl", R"({"kind": "step", "global_step": 10, "step": 10, "epoch": 0, "loss": 1})"
                         "\n");
  MetricsReader reader(folder_ / "metrics.jsonl");
  EXPECT_FALSE(steps_left(reader.look(), 2));
  write("metrics.jsonl",
        R"({"kind": "step", "global_step": 110, "step": 10, "epoch": 1, "loss": 1})"
        "\n",
        std::ios::app);
  EXPECT_EQ(steps_left(reader.look(), 2), 90);
}

TEST(Series, IsHalvedWhereItIsLong) {
  ThinnedSeries series(4);
  for (int i = 0; i < 8; ++i) series.add(i);  // halves at 4 values, and at 4 pairs
  EXPECT_THAT(series.means(), ElementsAre(1.5, 5.5));
}

TEST(SparkLine, RunsFromLowestToHighest) {
  EXPECT_EQ(spark_line({1, 2, 4, 8}, 10, true),
            "\u2581\u2583\u2586\u2588");  // a third of the way up a logarithmic scale
  EXPECT_EQ(spark_line({-1, 0, 1}, 10, false), "_=#");
  EXPECT_EQ(spark_line({3, 3}, 10, false), "__");
  EXPECT_EQ(count_characters(spark_line(std::vector<double>(100, 1.0), 7, true)), 7U);
  EXPECT_EQ(spark_line({}, 7, true), "");
}

TEST_F(Watched, EachTrialIsTold) {
  plan({"lr=1", "lr=2", "lr=3"});
  trial_state(0, "failed", 3, "the loss is no number");
  trial_state(1, "running", 0, "");
  write("store/" + id(1) + "/config.toml", "[train]\nepochs = 4\nglobal_batch = 10\n");
  write("store/" + id(1) + "/metrics.jsonl", eval_line + step_line(110, 10, 1, 0.25));
  RunWatch watch(folder_ / "grid");
  const auto view = watch.look();
  ASSERT_EQ(view.runs.size(), 3U);
  EXPECT_EQ(view.title, "grid");
  EXPECT_EQ(view.runs[0].state, WatchedState::failed);
  EXPECT_EQ(view.runs[0].reason, "exit code 3: the loss is no number");
  EXPECT_EQ(view.runs[1].state, WatchedState::running);
  EXPECT_EQ(view.runs[1].epochs, 4);
  EXPECT_NEAR(*view.runs[1].seconds_left, 290 * 10 / 1000.0, 1.5);  // 290 steps of 10 samples are left
  EXPECT_EQ(view.runs[2].state, WatchedState::waiting);
  EXPECT_FALSE(view.over());
  const auto json = to_json(view, order("plan"));
  EXPECT_EQ(json.at("counts"), (nlohmann::json{{"failed", 1}, {"running", 1}, {"waiting", 1}}));
  EXPECT_EQ(json.at("runs").at(1).at("epoch"), 2);
  EXPECT_EQ(json.at("runs").at(1).at("correct_key"), 0.75);
  EXPECT_TRUE(json.at("runs").at(2).at("loss").is_null());
  EXPECT_TRUE(json.at("queue").is_null());
}

TEST_F(Watched, ARunTellsWhyItEnded) {
  write("run/config.toml", "[train]\nepochs = 4\n");
  write("run/metrics.jsonl", step_line(10, 10, 0, 2.0));
  write("run/log/rank0.log", "2026-01-01 00:00:00.000 info: begun\n2026-01-01 00:00:00.000 error: the disk is full\n");
  const auto failed = RunWatch(folder_ / "run").look();
  EXPECT_EQ(failed.runs.at(0).state, WatchedState::failed);
  EXPECT_EQ(failed.runs.at(0).reason, "the disk is full");
  EXPECT_TRUE(failed.over());
  write("run/log/rank0.log", "2026-01-01 00:00:00.000 info: stopped as asked\n", std::ios::app);
  EXPECT_EQ(RunWatch(folder_ / "run").look().runs.at(0).state, WatchedState::begun);
  const Lease lease(folder_ / "run");
  EXPECT_EQ(RunWatch(folder_.path()).look().runs.at(0).state, WatchedState::running);
}

TEST_F(Watched, FitsAnyWidth) {
  plan({"optimiser=adam lr=0.001 key.gamma=0.25", "optimiser=sgd lr=0.1 key.gamma=0.5"});
  trial_state(0, "failed", 3, "the loss is no number: a smaller optim.lr may help, and so may optim.clip_norm");
  trial_state(1, "running", 0, "");
  write("store/" + id(1) + "/config.toml", "[train]\nepochs = 4\n");
  write("store/" + id(1) + "/metrics.jsonl", eval_line + step_line(110, 10, 1, 0.25) + step_line(120, 20, 1, 0.2));
  const auto view = RunWatch(folder_ / "grid").look();
  for (const std::size_t width : {1U, 8U, 20U, 40U, 80U, 200U})
    for (const auto& line : lines_of(watch_text(view, order("state"), {.width = width})))
      EXPECT_LE(count_characters(line), width) << line;
  const auto at = [&](std::size_t width) { return watch_text(view, order("state"), {.width = width}); };
  EXPECT_THAT(at(20),
              AllOf(HasSubstr("running"), HasSubstr("failed"), HasSubstr("exit code"), Not(HasSubstr("epoch"))));
  EXPECT_THAT(at(40), AllOf(HasSubstr("adam 0.001 0.25 "), HasSubstr("sgd 0.1 0.5 "), HasSubstr("2/4"),
                            HasSubstr("0.7500"), Not(HasSubstr("strip"))));
  EXPECT_THAT(at(200), AllOf(HasSubstr("strip"), HasSubstr("samples/s"), HasSubstr("\u2588\u2581"),
                             HasSubstr("optimiser=adam lr=0.001 key.gamma=0.25")));
  const auto coloured = watch_text(view, order("state"), {.width = 80, .colour = true});
  EXPECT_THAT(coloured, HasSubstr("\033[31mfailed"));
}

TEST(WatchTable, EachStateHasAColour) {
  WatchView view;
  for (const auto state : {WatchedState::running, WatchedState::failed, WatchedState::stopped, WatchedState::begun,
                           WatchedState::halved, WatchedState::done, WatchedState::waiting}) {
    view.runs.emplace_back().state = state;
    view.runs.back().name = to_string(state) + "_run";
  }
  std::map<std::string, std::string> colours;
  for (const auto& line : lines_of(watch_text(view, order("plan"), {.width = 80, .colour = true})))
    if (const auto begin = line.find("\033["), end = line.find('m', begin); begin != std::string::npos)
      colours[line.substr(end + 1, line.find_first_of(" \033", end) - end - 1)] = line.substr(begin, end + 1 - begin);
  EXPECT_EQ(colours.size(), view.runs.size());
  EXPECT_EQ(colours["done"], "\033[32m");
  EXPECT_EQ(colours["failed"], "\033[31m");
  EXPECT_EQ(colours["waiting"], "\033[2m");
}

TEST(WatchTable, FailuresAreExplainedBeforeWhatHalvingHasStopped) {
  WatchView view;
  for (int i = 0; i < 8; ++i) {
    auto& run = view.runs.emplace_back();
    run.name = "run";
    run.state = i == 7 ? WatchedState::failed : WatchedState::halved;
    run.reason = i == 7 ? "the loss is no number" : "five others are better";
  }
  const auto text = watch_text(view, order("plan"), {.width = 80});
  EXPECT_LT(text.find("the loss is no number"), text.find("five others are better")) << text;
  EXPECT_THAT(text, HasSubstr("... and 3 more reasons"));
}

TEST_F(Watched, RowsThatDoNotFitAreCounted) {
  std::vector<std::string> labels;
  for (int i = 0; i < 30; ++i) labels.push_back(fmt::format("seed={}", i));
  plan(labels);
  const auto view = RunWatch(folder_ / "grid").look();
  const auto text = watch_text(view, order("state"), {.width = 80, .height = 10});
  EXPECT_EQ(lines_of(text).size(), 10U);
  EXPECT_THAT(text, HasSubstr("... and 23 more"));
  EXPECT_THAT(watch_text(view, order("state"), {.width = 80}), HasSubstr("seed=29"));
}

TEST_F(Watched, IsSortedByAnyFigure) {
  plan({"b", "a", "c"});
  for (const std::size_t trial : {0U, 1U}) {
    trial_state(trial, "done", 0, "");
    write("store/" + id(trial) + "/config.toml", "");
    write("store/" + id(trial) + "/metrics.jsonl", step_line(10, 10, 0, trial == 0 ? 2.0 : 1.0));
  }
  trial_state(2, "running", 0, "");
  const auto view = RunWatch(folder_ / "grid").look();
  EXPECT_THAT(names_by(view, "plan"), ElementsAre("b", "a", "c"));
  EXPECT_THAT(names_by(view, "name"), ElementsAre("a", "b", "c"));
  EXPECT_THAT(names_by(view, "loss"), ElementsAre("a", "b", "c"));  // c has none
  EXPECT_THAT(names_by(view, "state"), ElementsAre("c", "b", "a"));
  EXPECT_ERROR(order("size"), ExitCode::bad_input, HasSubstr("--sort"));
}

TEST_F(Watched, NothingIsWritten) {
  plan({"a", "b"});
  trial_state(0, "done", 0, "");
  write("run/config.toml", "");
  write("run/metrics.jsonl", eval_line);
  const auto before = snapshot();
  RunWatch watch(folder_.path());
  watch.look();
  EXPECT_EQ(snapshot(), before);
  write("run/metrics.jsonl", "\n", std::ios::app);
  EXPECT_NE(snapshot(), before);  // the control
}

TEST_F(Watched, APlaceThatVanishesIsToldFromOneThatNeverWas) {
  EXPECT_ERROR(RunWatch(folder_ / "nowhere"), ExitCode::bad_input, HasSubstr("nowhere: no such folder; accepted:"));
  EXPECT_ERROR(RunWatch(folder_.path()), ExitCode::bad_input, HasSubstr("no run and no sweep; accepted:"));
  plan({"a"});
  RunWatch watch(folder_ / "grid");
  fs::remove_all(folder_ / "grid");
  EXPECT_ERROR(watch.look(), ExitCode::bad_input, HasSubstr("the folder is gone"));
}

TEST_F(Watched, TextOfAStrangerMovesNoCursor) {
  plan({"a\\u001b[2Jb"});
  EXPECT_THAT(watch_text(RunWatch(folder_ / "grid").look(), order("plan"), {}), Not(HasSubstr("\033")));
}

TEST(Queue, IsCountedByState) {
  const auto queue = parse_squeue("PENDING|Resources\nRUNNING|None\nPENDING|Priority\nPENDING|Priority\n");
  EXPECT_EQ(queue.text(), "3 pending (Priority, Resources), 1 running");
  EXPECT_EQ(to_json(queue).at("waits").at("Priority"), 2);
  EXPECT_EQ(parse_squeue("").text(), "no job is queued");
  EXPECT_EQ(SweepQueue{}.text(), "");
}

// A squeue of this test's own stands in front of the system's.
class WithSlurm : public Watched {
 protected:
  void SetUp() override {
    path_ = std::getenv("PATH");
    setenv("PATH", (folder_ / "bin").string().append(":").append(path_).c_str(), 1);
    write("grid/slurm/jobs", "17\n18\nnonsense\n");
  }
  void TearDown() override { setenv("PATH", path_.c_str(), 1); }
  void squeue(const std::string& script) const {
    write("bin/squeue", "#!/bin/sh\n" + script);
    fs::permissions(folder_ / "bin/squeue", fs::perms::owner_all);
  }
  std::string path_;
};

TEST_F(WithSlurm, TheJobsOfTheSweepAreAskedFor) {
  squeue("echo \"$@\" > " + (folder_ / "asked").string() + "\necho 'PENDING|Resources'\n");
  EXPECT_EQ(ask_queue(folder_ / "grid").text(), "1 pending (Resources)");
  EXPECT_THAT(read_text(folder_ / "asked"), HasSubstr("-j 17,18"));
}

TEST_F(WithSlurm, ItsFaultsAreTold) {
  squeue("echo 'slurm_load_jobs error: Invalid job id specified' >&2\nexit 1\n");
  EXPECT_EQ(ask_queue(folder_ / "grid").text(), "no job is queued");
  squeue("echo 'Unable to contact slurm controller' >&2\nexit 1\n");
  EXPECT_EQ(ask_queue(folder_ / "grid").text(), "squeue: Unable to contact slurm controller");
}

}  // namespace
}  // namespace spankey::watch_test
