// Kills of the real program, at every step and at any moment.
#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <csignal>
#include <functional>
#include <random>

#include "base/file.h"
#include "faults/budget.h"
#include "faults/faulty_run.h"
#include "record/run_directory.h"

namespace spankey::test::kills_test {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;
using testing::HasSubstr;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

// Killed as the checkpoint of step k gets its name, for every k; each run goes on and ends with the same bits.
TEST_F(FaultyRun, AKillAtEveryStepIsSurvived) {
  const std::vector<std::string> every{"train.epochs=5", "checkpoint.every_steps=1"};
  constexpr int all_steps = 40;
  expect_success(train(2, "undisturbed", every));
  const auto expected = tensors("undisturbed");
  const auto expected_metrics = metrics("undisturbed");
  const int sample[] = {1, 8, all_steps};  // the first, one at the end of an epoch, the last
  std::int64_t kills = 0, lost = 0;
  for (const Budget budget(std::size(sample), all_steps, Part::real_steps); budget.more(kills); ++kills) {
    const int step = torture_seconds() > 0 ? static_cast<int>(kills) + 1 : sample[kills];
    const auto run = "killed" + std::to_string(step);
    const auto outcome = test::run(
        under_fault(
            train(2, run, every),
            {.prefix = absolute(run + "/checkpoints"), .action = "kill", .calls = "rename", .at = step, .log = {}}),
        folder.path(), std::chrono::seconds(60));
    EXPECT_EQ(outcome.exit_code, 128 + SIGKILL) << outcome.err;
    EXPECT_LT(newest_step(run), all_steps);
    expect_success(train(2, run, every));
    const bool same = tensors(run) == expected && metrics(run) == expected_metrics;
    lost += !same;
    EXPECT_TRUE(same) << "killed at step " << step;
    std::filesystem::remove_all(folder / run);
  }
  std::printf("kills performed: %lld, %lld lost\n", static_cast<long long>(kills), static_cast<long long>(lost));
  report("R1", "kills at a step of the real program", kills, all_steps);
  report("R1", "runs that ended with other bits after them", lost);
  EXPECT_GT(kills, 0);
}

// Mean and worst of what was measured at each kill.
struct Measured {
  double sum = 0, worst = 0;
  std::int64_t count = 0;
  void add(double value) {
    sum += value;
    worst = std::max(worst, value);
    ++count;
  }
  // Whole numbers: milliseconds of seconds.
  void report(const std::string& what, double scale) const {
    test::report("R1", what + ", mean", count > 0 ? std::llround(scale * sum / static_cast<double>(count)) : 0);
    test::report("R1", what + ", worst", std::llround(scale * worst));
  }
};

constexpr int save_every = 20, metrics_every = 10;  // steps; the latter is the trainer's
constexpr int timeout_seconds = 3;

enum class Way { all, launcher, one_rank, stop_of_one_rank };
constexpr std::size_t ways = 4;

// Each once, then at random. A stop is seldom: it takes the time-out.
Way next_way(std::int64_t faults, std::mt19937& random) {
  if (faults < static_cast<std::int64_t>(ways)) return static_cast<Way>(faults);
  return random() % 25 == 0 ? Way::stop_of_one_rank : static_cast<Way>(random() % (ways - 1));
}

class Moments : public FaultyRun {
 protected:
  // False where it had ended of its own accord.
  bool end(Child& child, Way way, std::mt19937& random) {
    if (way == Way::one_rank) return hurt(child, random() % 2, SIGKILL);
    if (way == Way::stop_of_one_rank) return hurt(child, random() % 2, SIGSTOP);
    if (way == Way::all)
      child.kill_tree();
    else
      child.signal(SIGKILL);
    return child.wait().exit_code != 0;
  }

  // One of two ranks: the other one notices, names it and ends.
  bool hurt(Child& child, std::size_t victim, int signal) {
    const auto pids = ranks_of(child);
    const auto log = folder / ("killed/log/rank" + std::to_string(1 - victim) + ".log");
    const auto before = read_text(log).size();
    const auto start = Clock::now();
    if (pids.size() == 2) kill(pids[victim], signal);
    const auto outcome = child.wait(std::chrono::seconds(30));
    EXPECT_FALSE(outcome.timed_out);
    if (outcome.exit_code == 0) return false;
    slowest_end = std::max(slowest_end, seconds_since(start));
    const auto words = signal == SIGKILL ? " is gone" : " has given no sign of life";
    // From the result on the ranks take their leave.
    const bool at_work = !std::filesystem::exists(folder / "killed/result.json");
    if (at_work) {
      EXPECT_THAT(read_text(log).substr(before), HasSubstr("rank " + std::to_string(victim) + words));
    }
    return true;
  }

  // Until the run "killed", just started, is beyond the checkpoint `before`; false where it has ended.
  bool go_on(Child& child, int before, std::filesystem::file_time_type metrics_before) {
    const auto started = Clock::now();
    if (before > 0) {
      while (child.running() && (metrics_time("killed") == metrics_before || metrics_step("killed") <= before))
        std::this_thread::sleep_for(milliseconds(1));
      if (child.running()) first_step.add(seconds_since(started));
    }
    wait_for_step(child, "killed", before + 1);
    if (before > 0 && newest_step("killed") > before) next_checkpoint.add(seconds_since(fault_at));
    return child.running();
  }

  // Kills the run "killed" as long as `budget` has it, and lets it end.
  void run_with_faults(const std::vector<std::string>& command, const Budget& budget, std::mt19937& random) {
    std::filesystem::remove_all(folder / "killed");
    for (;;) {
      const int before = newest_step("killed");
      const auto metrics_before = metrics_time("killed");
      Child child(command, folder.path());
      if (!budget.more(faults)) {
        EXPECT_EQ(child.wait().exit_code, 0);
        return;
      }
      if (!go_on(child, before, metrics_before)) return;
      std::this_thread::sleep_for(milliseconds(random() % 400));
      const auto way = next_way(faults, random);
      fault_at = Clock::now();
      if (!child.running() || !end(child, way, random)) return;
      if (way == Way::stop_of_one_rank) fault_at = Clock::now();  // what it took to be noticed is told apart
      ++faults;
      ++by_way[static_cast<std::size_t>(way)];
      // The step after the last line but the next one's was the last that can have been taken.
      lost_steps.add(std::max(0, metrics_step("killed") + metrics_every - 1 - newest_step("killed")));
    }
  }

  void report_figures(std::int64_t lost) const {
    const auto count = [this](Way way) { return by_way[static_cast<std::size_t>(way)]; };
    report("R1", "kills and stops at random moments", faults, 200);
    report("R1", "runs that ended with other bits or metrics after them", lost);
    first_step.report("recovery from the restart to the first new line of metrics, 1 to 10 steps (ms)", 1e3);
    next_checkpoint.report("recovery from the kill to the next new checkpoint (ms)", 1e3);
    lost_steps.report("steps lost to a kill where 20 lie between checkpoints, 9 of them at most unseen", 1);
    report("R7", "kills of a single rank of the real program, named by the other", count(Way::one_rank), 1);
    report("R7", "stops (SIGSTOP) of a single rank of the real program, named by the other",
           count(Way::stop_of_one_rank), 1);
    report("R7", "from such a fault to the end of the run, slowest (ms; timeout 3000)",
           std::llround(1e3 * slowest_end));
    for (const auto performed : by_way) EXPECT_GT(performed, 0);
  }

  std::int64_t faults = 0;
  std::array<std::int64_t, ways> by_way{};
  Clock::time_point fault_at;
  double slowest_end = 0;
  Measured first_step, next_checkpoint, lost_steps;
};

// Launcher and ranks at once, the launcher alone or one rank, at any moment.
TEST_F(Moments, AKillAtAnyMomentIsSurvived) {
  const std::vector<std::string> long_epochs{"train.global_batch=32",
                                             "checkpoint.every_steps=" + std::to_string(save_every),
                                             "dist.timeout_seconds=" + std::to_string(timeout_seconds)};
  expect_success(train(2, "undisturbed", long_epochs));
  const auto expected = tensors("undisturbed");
  const auto expected_metrics = metrics("undisturbed");
  std::mt19937 random(11);
  std::int64_t lost = 0;
  for (const Budget budget(ways, 200, Part::real_moments); budget.more(faults);) {
    run_with_faults(train(2, "killed", long_epochs), budget, random);
    const bool same = tensors("killed") == expected && metrics("killed") == expected_metrics;
    EXPECT_TRUE(same);
    lost += !same;
  }
  report_figures(lost);
  EXPECT_GT(first_step.count, 0);
  // Those since a checkpoint, those while it was written (a second one waits for it), and what nobody saw.
  EXPECT_LE(lost_steps.worst, 2 * save_every + metrics_every - 1);
}

// The mutants: checkpoints that lack one thing. What is compared after each kill must show it.
TEST_F(FaultyRun, CheckpointsThatForgetAreCaught) {
  const std::vector<std::string> few{"train.epochs=3"};
  expect_success(train(1, "undisturbed", few));
  const auto expected = tensors("undisturbed");
  train_and_kill("run", 6, few);
  const auto original = newest_checkpoint("run");
  const auto step = original.cursor.global_step;
  const std::pair<const char*, std::function<void(Checkpoint&)>> forgotten[] = {
      {"nothing", [](Checkpoint&) {}},
      {"the optimiser's moments", [](Checkpoint& c) { c.optimizer.front().value.zero_(); }},
      {"the place in the epoch", [](Checkpoint& c) { c.cursor.step = c.cursor.step > 0 ? 0 : 1; }},
      {"the number of steps taken", [](Checkpoint& c) { ++c.cursor.global_step; }},
      {"the last bit of a weight", [](Checkpoint& c) { c.parameters.front().value.view(-1)[0].mul_(1 + 0x1p-23); }},
  };
  int caught = 0;
  for (const auto& [what, forget] : forgotten) {
    const auto run = std::string("forgot ") + what;
    std::filesystem::create_directories(folder / (run + "/checkpoints"));
    std::filesystem::copy(folder / "run/secret", folder / (run + "/secret"));
    auto checkpoint = decode_checkpoint(encode_checkpoint(original), "a copy");
    forget(checkpoint);
    write_durably(checkpoint_path(folder / (run + "/checkpoints"), checkpoint.cursor.global_step),
                  encode_checkpoint(checkpoint));
    const auto outcome = test::run(train(1, run, few), folder.path());
    const bool same = outcome.exit_code == 0 && tensors(run) == expected;
    const bool control = checkpoint.cursor == original.cursor && what == std::string("nothing");
    EXPECT_EQ(same, control) << what << " at step " << step << outcome.err;
    caught += !control && !same;
  }
  report_mutants("R1", "checkpoints that forget one thing", caught, 4);
}

}  // namespace
}  // namespace spankey::test::kills_test
