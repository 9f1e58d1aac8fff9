// The local executor with real processes that are killed: every trial is done exactly once.
#include "sweep/local_executor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <memory>
#include <random>
#include <set>
#include <sstream>
#include <thread>

#include "base/file.h"
#include "base/shutdown.h"
#include "dummy_sweep.h"
#include "faults/budget.h"
#include "support/expect_error.h"
#include "support/program.h"
#include "support/temporary_folder.h"
#include "sweep/attempt.h"
#include "sweep/sweep.h"

namespace spankey::local_executor_test {
namespace {

using std::chrono::milliseconds;

std::vector<std::string> worker_command(const std::filesystem::path& directory, const std::string& claims) {
  return {SPANKEY_SWEEP_WORKER, directory.string(), SPANKEY_DUMMY_TRIAL, claims};
}

// Children of a process; empty once it has ended.
std::vector<int> children_of(int pid) {
  std::vector<int> children;
  std::ifstream file(fmt::format("/proc/{}/task/{}/children", pid, pid));
  for (int child = 0; file >> child;) children.push_back(child);
  return children;
}

class Workers {
 public:
  Workers(const std::filesystem::path& directory, std::string claims)
      : directory_(directory), claims_(std::move(claims)) {
    for (auto& worker : workers_) worker = start();
  }

  // Kills a worker or one of the trials, with -9; a worker that is gone is replaced. True where something died of it.
  bool kill_one(std::mt19937& random) {
    auto& worker = workers_[random() % workers_.size()];
    if (!worker->running()) worker = start();
    int target = worker->pid();
    const auto trials = children_of(target);
    if (random() % 2 == 0 && !trials.empty()) target = trials[random() % trials.size()];
    const bool killed = kill(target, SIGKILL) == 0;
    if (target == worker->pid()) {
      worker->wait();
      worker = start();
    }
    return killed;
  }

  // Lets all end; starts anew what a kill has left undone. Exit code of the last one.
  int finish() {
    int code = -1;
    for (auto& worker : workers_) worker->wait();
    for (int i = 0; i < 5 && code != 0; ++i) code = start()->wait().exit_code;
    return code;
  }

 private:
  std::unique_ptr<test::Child> start() const {
    return std::make_unique<test::Child>(worker_command(directory_, claims_), directory_);
  }

  std::filesystem::path directory_;
  std::string claims_;
  std::array<std::unique_ptr<test::Child>, 2> workers_;
};

TEST(LocalExecutor, EveryTrialIsDoneExactlyOnceWhateverIsKilled) {
  const bool torture = test::torture_seconds() > 0;
  const int trials = torture ? 1000 : 200, wanted_kills = torture ? 50 : 20;
  const test::TemporaryFolder folder;
  const auto plan = test::dummy_plan(folder / "trials", trials);
  save_plan(plan, folder.path());
  std::mt19937 random(1);
  int kills = 0;
  {
    Workers workers(folder.path(), "exclusive");
    while (kills < wanted_kills) {
      std::this_thread::sleep_for(milliseconds(50 + random() % 250));
      kills += workers.kill_one(random) ? 1 : 0;
    }
    EXPECT_EQ(workers.finish(), 0);
  }
  EXPECT_GT(kills, 0);
  const auto done = test::completions(folder.path());
  int once = 0;
  for (const auto& trial : plan.trials) once += done.contains(trial.hash) && done.at(trial.hash) == 1;
  test::report("R15", "kills of drivers and trials", kills, 50);
  test::report("R15", "trials of a sweep run exactly once under them", once, trials);
  EXPECT_EQ(once, trials);
  EXPECT_EQ(done.size(), trials);
  const auto counts = count_trials(plan, Ledger(plan.store));
  EXPECT_EQ(counts.done, trials);
  EXPECT_EQ(counts.running + counts.waiting + counts.failed, 0);
}

// The mutant: without leases two workers do run the same trials, and the count shows it.
// Several rounds: two workers that write one entry at the same moment may also end each other before they get so far.
TEST(LocalExecutor, WithoutLeasesTrialsAreDoneTwice) {
  int twice = 0;
  for (int round = 0; round < 10 && twice == 0; ++round) {
    const test::TemporaryFolder folder;
    const auto plan = test::dummy_plan(folder / "trials", 20);
    save_plan(plan, folder.path());
    Workers(folder.path(), "none").finish();
    for (const auto& [hash, count] : test::completions(folder.path())) twice += count > 1 ? 1 : 0;
  }
  EXPECT_GT(twice, 0);
  test::report_mutants("R15", "workers without leases", twice > 0, 1);
}

TEST(LocalExecutor, AFailedTrialStopsNoOtherAndIsTriedAgainOnlyWhenAsked) {
  const test::TemporaryFolder folder;
  const auto plan = test::dummy_plan(folder / "trials", 6);
  save_plan(plan, folder.path());
  Ledger ledger(plan.store);
  std::string second_exit_code = "2";
  const auto command = [&](const PlannedTrial& trial) {
    std::vector<std::string> words{SPANKEY_DUMMY_TRIAL, (folder / "completions").string(),
                                   ledger.run_directory(trial.id).root.string(), trial.hash};
    if (trial.id == plan.trials[1].id && !second_exit_code.empty()) words.push_back(second_exit_code);
    if (trial.id == plan.trials[4].id) words[0] = "/no/such/program";
    return words;
  };
  const LocalOptions options{.directory = folder.path(), .jobs = 2};
  EXPECT_EQ(run_local(plan, ledger, command, options), ExitCode::run_failed);
  EXPECT_EQ(count_trials(plan, ledger).done, 4);
  const auto failed = ledger.read(plan.trials[1].id);
  EXPECT_EQ(failed.state, TrialState::failed);
  EXPECT_EQ(failed.exit_code, 2);
  EXPECT_EQ(failed.attempts, 1);
  EXPECT_TRUE(std::filesystem::exists(ledger.output_log(plan.trials[1].id)));
  EXPECT_EQ(ledger.read(plan.trials[4].id).exit_code, 127);

  EXPECT_EQ(reopen_failed(plan, ledger, RetryFailed::crashed), 0);
  EXPECT_EQ(run_local(plan, ledger, command, options), ExitCode::run_failed);
  EXPECT_EQ(ledger.read(plan.trials[1].id).attempts, 1) << "not retried unasked";

  second_exit_code.clear();
  EXPECT_EQ(reopen_failed(plan, ledger, RetryFailed::all), 2);
  EXPECT_EQ(run_local(plan, ledger, command, options), ExitCode::run_failed);
  EXPECT_EQ(count_trials(plan, ledger).done, 5);
  EXPECT_EQ(test::completions(folder.path()).at(plan.trials[1].hash), 1);
}

TEST(LocalExecutor, TheReasonOfAFailureIsTheLastLineOfItsLog) {
  const test::TemporaryFolder folder;
  const auto plan = test::dummy_plan(folder / "trials", 2);
  Ledger ledger(plan.store);
  const auto reason = [&](const PlannedTrial& trial, const std::string& log) {
    const auto path = ledger.output_log(trial.id);
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path) << log;
    return outcome_of_attempt(ledger, trial, {}, {3, 1.0}).reason;
  };
  EXPECT_EQ(reason(plan.trials[0], std::string(100'000, 'x') + "\n12:00:00 [0/1] error: loss is not finite\n\n"),
            "loss is not finite");
  EXPECT_EQ(reason(plan.trials[0], "spankey: optim.lr = 0: accepted: a number > 0\n"),
            "optim.lr = 0: accepted: a number > 0");
  const std::string rule(74, '-');
  EXPECT_EQ(reason(plan.trials[0],
                   "12:00:00 [1/2] error: loss is not finite\n" + rule +
                       "\nPrimary job  terminated normally, but 1 process returned\na non-zero exit code.\n" + rule +
                       "\n" + rule + "\nmpirun detected that one or more processes exited\n" + rule + "\n"),
            "loss is not finite");
  EXPECT_EQ(reason(plan.trials[0], ""), "ended with 3");
  EXPECT_EQ(outcome_of_attempt(ledger, plan.trials[1], {}, {3, 1.0}).reason, "ended with 3");  // there is no log
}

// GPUs that trials hold at the same time, from a journal of their beginnings and ends.
struct GpuUse {
  std::set<std::string> seen;  // CUDA_VISIBLE_DEVICES of every trial
  int at_once = 0;             // most trials that ran together
  int shared = 0;              // trials that began with GPUs that another one held
};

GpuUse run_on_gpus(const char* gpus, int ranks) {
  const test::TemporaryFolder folder;
  const auto plan = test::dummy_plan(folder / "trials", 12);
  Ledger ledger(plan.store);
  const auto journal = folder / "journal";
  const std::string script = R"(echo begin $CUDA_VISIBLE_DEVICES >> "$1"
sleep 0.15
echo end $CUDA_VISIBLE_DEVICES >> "$1"
echo "{\"config_hash\": \"$3\"}" > "$2/result.json")";
  const auto command = [&](const PlannedTrial& trial) -> std::vector<std::string> {
    return {"sh", "-c", script, "trial", journal.string(), ledger.run_directory(trial.id).root.string(), trial.hash};
  };
  ::setenv("CUDA_VISIBLE_DEVICES", gpus, 1);
  EXPECT_EQ(run_local(plan, ledger, command, {.directory = folder.path(), .jobs = 3, .ranks_per_trial = ranks}),
            ExitCode::done);
  ::unsetenv("CUDA_VISIBLE_DEVICES");
  GpuUse use;
  std::multiset<std::string> held;
  std::ifstream lines(journal);
  for (std::string what, mine; lines >> what >> mine;) {
    if (what == "begin") {
      use.shared += held.contains(mine) ? 1 : 0;
      use.seen.insert(mine);
      held.insert(mine);
      use.at_once = std::max(use.at_once, static_cast<int>(held.size()));
    } else {
      held.erase(held.find(mine));
    }
  }
  EXPECT_TRUE(held.empty());
  return use;
}

TEST(LocalExecutor, RunningTrialsHaveGpusOfTheirOwn) {
  using testing::UnorderedElementsAre;
  const auto one_each = run_on_gpus("4,5,7", 1);
  EXPECT_THAT(one_each.seen, UnorderedElementsAre("4", "5", "7"));
  EXPECT_EQ(one_each.shared, 0);
  EXPECT_GT(one_each.at_once, 1);
  const auto two_each = run_on_gpus("0,1,2,3,4,5", 2);
  EXPECT_THAT(two_each.seen, UnorderedElementsAre("0,1", "2,3", "4,5"));
  EXPECT_EQ(two_each.shared, 0);
  EXPECT_GT(two_each.at_once, 1);
  // The control: three trials at a time on two GPUs have to share.
  EXPECT_GT(run_on_gpus("0,1", 1).shared, 0);
}

// As many threads as a trial's ranks have cores is for the trial to find out; it is told which cores are its own.
TEST(LocalExecutor, ATrialIsToldTheCoresOfItsSlot) {
  cpu_set_t before, two;
  ASSERT_EQ(sched_getaffinity(0, sizeof before, &before), 0);
  if (CPU_COUNT(&before) < 2) GTEST_SKIP() << "SKIPPED: one core";
  CPU_ZERO(&two);
  for (int core = 0; core < CPU_SETSIZE && CPU_COUNT(&two) < 2; ++core)
    if (CPU_ISSET(core, &before)) CPU_SET(core, &two);
  const auto told = [](int jobs, int ranks) {
    const test::TemporaryFolder folder;
    const auto plan = test::dummy_plan(folder / "trials", 1);
    Ledger ledger(plan.store);
    const auto command = [&](const PlannedTrial& trial) -> std::vector<std::string> {
      const std::string script = R"(echo $SPANKEY_CORES $OMP_NUM_THREADS > "$0"
echo "{\"config_hash\": \"$2\"}" > "$1/result.json")";
      return {"sh", "-c", script, (folder / "told").string(), ledger.run_directory(trial.id).root.string(), trial.hash};
    };
    EXPECT_EQ(run_local(plan, ledger, command, {.directory = folder.path(), .jobs = jobs, .ranks_per_trial = ranks}),
              ExitCode::done);
    return read_text(folder / "told");
  };
  const char* threads = std::getenv("OMP_NUM_THREADS");
  const std::string kept = threads ? threads : "";
  ::unsetenv("OMP_NUM_THREADS");
  sched_setaffinity(0, sizeof two, &two);
  EXPECT_EQ(told(1, 1), "2 2\n");
  EXPECT_EQ(told(1, 2), "2 1\n");
  EXPECT_EQ(told(2, 2), "1 1\n");
  EXPECT_EQ(told(3, 1), "\n") << "more trials than cores: none has any of its own";
  sched_setaffinity(0, sizeof before, &before);
  if (threads) ::setenv("OMP_NUM_THREADS", kept.c_str(), 1);
}

// A sweep on a file system that the trials find full: each says so and ends with 3, as long as the file `full` is
// there.
class FullDisk : public testing::Test {
 protected:
  void SetUp() override { ::setenv("SPANKEY_PAUSE_SECONDS", "0.02", 1); }
  void TearDown() override { ::unsetenv("SPANKEY_PAUSE_SECONDS"); }

  ExitCode run(const std::string& last_words) {
    const auto command = [this, last_words](const PlannedTrial& trial) -> std::vector<std::string> {
      const std::string script = R"(echo begun >> "$0.attempts"
if [ -e "$0" ]; then echo refused >> "$0.refusals"; echo "$3"; exit 3; fi
echo "{\"config_hash\": \"$2\"}" > "$1/result.json")";
      return {"sh",       "-c",      script, full_.string(), ledger_.run_directory(trial.id).root.string(),
              trial.hash, last_words};
    };
    return run_local(plan_, ledger_, command, {.directory = folder_.path()});
  }
  int attempts() const { return lines_of("full.attempts"); }
  // How many of the attempts found the disk full.
  int refusals() const { return lines_of("full.refusals"); }

  test::TemporaryFolder folder_;
  std::filesystem::path full_ = folder_ / "full";
  SweepPlan plan_ = test::dummy_plan(folder_ / "trials", 12);
  Ledger ledger_{plan_.store};

 private:
  int lines_of(const char* name) const {
    std::ifstream file(folder_ / name);
    return static_cast<int>(std::count(std::istreambuf_iterator<char>(file), {}, '\n'));
  }
};

constexpr const char* no_space = "12:00:00 [0/1] error: cannot write /x/step_1.h5: write: No space left on device";

TEST_F(FullDisk, ThatPassesFailsNoTrial) {
  std::ofstream(full_) << "x";
  const std::jthread person([&](const std::stop_token& over) {
    while (refusals() < 2 && !over.stop_requested()) std::this_thread::sleep_for(milliseconds(5));
    std::filesystem::remove(full_);
  });
  EXPECT_EQ(run(no_space), ExitCode::done);
  const auto counts = count_trials(plan_, ledger_);
  EXPECT_EQ(counts.done, 12);
  EXPECT_EQ(counts.failed, 0);
  EXPECT_GE(refusals(), 2);
  EXPECT_EQ(attempts(), 12 + refusals());
}

TEST_F(FullDisk, ThatDoesNotPassEndsTheWorkerWithTheReason) {
  std::ofstream(full_) << "x";
  EXPECT_ERROR(
      run(no_space), ExitCode::run_failed,
      testing::AllOf(testing::HasSubstr("No space left on device"), testing::HasSubstr("no trial has failed")));
  EXPECT_EQ(attempts(), 6);  // and not one for each trial
  EXPECT_EQ(count_trials(plan_, ledger_).waiting, 12);
  std::filesystem::remove(full_);
  EXPECT_EQ(run(no_space), ExitCode::done);
}

// The control: other last words are the trial's own.
TEST_F(FullDisk, OtherFailuresAreTheTrialsOwn) {
  std::ofstream(full_) << "x";
  EXPECT_EQ(run("12:00:00 [0/1] error: loss is not finite"), ExitCode::run_failed);
  EXPECT_EQ(count_trials(plan_, ledger_).failed, 12);
  EXPECT_EQ(attempts(), 12);
}

// Trials whose second stage leaves a unit each time and ends with a code that the test chooses.
class AttackedTrials : public testing::Test {
 protected:
  void SetUp() override {
    plan_ = test::dummy_plan(folder_ / "trials", 3);
    plan_.attack.emplace();
    for (auto& trial : plan_.trials) trial.attack = "--preset quick";
    save_plan(plan_, folder_.path());
  }

  ExitCode run(const std::string& attack) {
    const auto train = [&](const PlannedTrial& trial) -> std::vector<std::string> {
      return {SPANKEY_DUMMY_TRIAL, (folder_ / "completions").string(), ledger_.run_directory(trial.id).root.string(),
              trial.hash};
    };
    const auto follow = [&](const PlannedTrial& trial) -> std::vector<std::string> {
      return {"sh", "-c", "mkdir -p $0/attack/units; touch $0/attack/units/$$.json; " + attack,
              ledger_.run_directory(trial.id).root.string()};
    };
    return run_local(plan_, ledger_, train, {.directory = folder_.path(), .attack = follow});
  }
  std::int64_t units(std::size_t trial) const { return ledger_.attack_units(plan_.trials[trial].id); }

  test::TemporaryFolder folder_;
  SweepPlan plan_;
  Ledger ledger_{folder_ / "trials"};
};

TEST_F(AttackedTrials, AreDoneWhenBothAre) {
  EXPECT_EQ(run("true"), ExitCode::done);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(units(i), 1);
    EXPECT_EQ(ledger_.read(plan_.trials[i].id).attack, "--preset quick");
    EXPECT_EQ(ledger_.read(plan_.trials[i].id).attempts, 1);
  }
  EXPECT_EQ(run("exit 3"), ExitCode::done) << "nothing is left to do";
  // With another attack they are waiting, and without one they are done.
  for (auto& trial : plan_.trials) trial.attack = "--preset standard";
  EXPECT_EQ(count_trials(plan_, ledger_).waiting, 3);
  for (auto& trial : plan_.trials) trial.attack = "";
  EXPECT_EQ(count_trials(plan_, ledger_).done, 3);
  for (auto& trial : plan_.trials) trial.attack = "--preset standard";
  EXPECT_EQ(run("true"), ExitCode::done);
  EXPECT_EQ(count_trials(plan_, ledger_).done, 3);
  EXPECT_EQ(test::completions(folder_.path()).size(), 3U) << "none was trained again";
}

TEST_F(AttackedTrials, AFailedAttackFailsTheTrialWithItsReason) {
  EXPECT_EQ(run("echo the attack has no luck; exit 3"), ExitCode::run_failed);
  const auto entry = ledger_.read(plan_.trials[0].id);
  EXPECT_EQ(entry.state, TrialState::failed);
  EXPECT_EQ(entry.reason, "the attack has no luck");
  EXPECT_EQ(entry.attack, "");
}

// 75 asks for another attempt, which counts as progress as long as units are added.
TEST_F(AttackedTrials, AStoppedAttackGoesOn) {
  EXPECT_EQ(run("[ $(ls $0/attack/units | wc -l) -ge 5 ] || exit 75"), ExitCode::done);
  EXPECT_EQ(ledger_.read(plan_.trials[0].id).attempts, 5);
  EXPECT_EQ(ledger_.read(plan_.trials[0].id).units, 5);
}

TEST_F(AttackedTrials, AStopIsReadByWhatTheTrialDoes) {
  const auto& trial = plan_.trials[0];
  const auto run = ledger_.run_directory(trial.id);
  EXPECT_EQ(ledger_.stop_marker(trial), run.stop_marker());
  std::filesystem::create_directories(run.attack());
  std::ofstream(run.result()) << "{}";
  EXPECT_EQ(ledger_.stop_marker(trial), run.attack() / "STOP");
}

TEST_F(FullDisk, ATrialThatAlwaysMeetsABrokenDiskFailsAloneInTheEnd) {
  const auto& bad = plan_.trials[0];
  const auto command = [&](const PlannedTrial& trial) -> std::vector<std::string> {
    if (trial.id == bad.id) return {"sh", "-c", "echo cannot read d.h5: Input/output error; exit 3"};
    return {"sh", "-c", R"(echo "{\"config_hash\": \"$1\"}" > "$0/result.json")",
            ledger_.run_directory(trial.id).root.string(), trial.hash};
  };
  EXPECT_EQ(run_local(plan_, ledger_, command, {.directory = folder_.path()}), ExitCode::run_failed);
  EXPECT_EQ(count_trials(plan_, ledger_).done, 11);
  EXPECT_EQ(ledger_.read(bad.id).reason, "cannot read d.h5: Input/output error");
  EXPECT_EQ(ledger_.read(bad.id).attempts, 3);
}

// The store itself: its ledger cannot be written either, and what was lost is known again from the results.
TEST_F(FullDisk, AStoreThatTakesNothingFailsNoTrial) {
  if (test::run({"mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", folder_.path().string()}, "/").exit_code != 0)
    GTEST_SKIP() << "SKIPPED: mounting is not allowed here";
  const auto unmount = [this] { test::run({"umount", folder_.path().string()}, "/"); };
  std::filesystem::create_directories(plan_.store);
  const auto ballast = folder_ / "ballast";
  std::ofstream(ballast) << std::string(1 << 20, 'x');  // until it is full
  EXPECT_ERROR(run("not written"), ExitCode::run_failed, testing::HasSubstr("No space left on device"));
  std::filesystem::remove(ballast);
  EXPECT_EQ(count_trials(plan_, ledger_).failed, 0);
  EXPECT_EQ(run("not written"), ExitCode::done);
  unmount();
}

// A look at a file that fails once is no request to stop, and no end of the sweep.
TEST(LocalExecutor, AMarkerThatCannotBeLookedAtEndsNothing) {
  const test::TemporaryFolder folder;
  const auto plan = test::dummy_plan(folder / "trials", 2);
  Ledger ledger(plan.store);
  std::filesystem::create_symlink(cancel_marker(folder.path()), cancel_marker(folder.path()));
  const auto command = [&](const PlannedTrial& trial) -> std::vector<std::string> {
    return {SPANKEY_DUMMY_TRIAL, (folder / "completions").string(), ledger.run_directory(trial.id).root.string(),
            trial.hash};
  };
  EXPECT_EQ(run_local(plan, ledger, command, {.directory = folder.path()}), ExitCode::done);
}

TEST(LocalExecutor, WhatFollowsFromAnExitCode) {
  TrialEntry before;
  before.attempts = 1;
  before.step = 10;
  const auto last_line = [] { return std::string("last line"); };
  const auto not_asked = []() -> std::string { throw std::logic_error("the log is read though it is not needed"); };
  const auto state = [&](int code, bool result, std::int64_t step) {
    return after_attempt(before, {code, 1.0}, result, step, last_line).state;
  };
  EXPECT_EQ(state(0, true, 20), TrialState::done);
  EXPECT_EQ(state(0, false, 20), TrialState::failed);
  EXPECT_EQ(state(75, false, 10), TrialState::waiting);
  for (const int crash : {1, 134, 137, 139}) {
    EXPECT_EQ(state(crash, false, 11), TrialState::waiting) << crash;
    EXPECT_EQ(state(crash, false, 10), TrialState::failed) << crash;
    EXPECT_TRUE(after_attempt(before, {crash, 1.0}, false, 10, not_asked).crashed());
  }
  for (const int refused : {2, 3, 127}) {
    const auto entry = after_attempt(before, {refused, 1.0}, false, 20, last_line);
    EXPECT_EQ(entry.state, TrialState::failed) << refused;
    EXPECT_EQ(entry.reason, "last line");
    EXPECT_FALSE(entry.crashed());
  }
  // 75 without progress: not for ever.
  auto entry = before;
  int rounds = 0;
  while (entry.state == TrialState::waiting && rounds < 10) {
    entry = after_attempt(entry, {75, 1.0}, false, 10, not_asked);
    ++rounds;
  }
  EXPECT_EQ(entry.state, TrialState::failed);
  EXPECT_EQ(rounds, 3);
  EXPECT_DOUBLE_EQ(entry.seconds, 3.0);
}

TEST(LocalExecutor, WhatAStopHasEndedIsNoFailure) {
  TrialEntry before;
  before.step = 10;
  before.idle_attempts = 2;
  const auto after = [&](int code, std::int64_t step) {
    return after_attempt(before, {.exit_code = code, .seconds = 1.0, .stopped = true}, false, step,
                         [] { return std::string("last line"); });
  };
  for (const int code : {1, 128 + SIGUSR2, 128 + SIGKILL}) {
    EXPECT_EQ(after(code, 10).state, TrialState::waiting) << code;
    EXPECT_EQ(after(code, 10).idle_attempts, 2) << code;
    EXPECT_EQ(after(code, 11).idle_attempts, 0) << code;
  }
  // What the trial itself says holds, stop or not; so does the limit of 75 without progress.
  for (const int code : {2, 3, 75}) EXPECT_EQ(after(code, 10).state, TrialState::failed) << code;
}

struct StoppedSweep {
  ExitCode code;
  TrialEntry trial;
  std::string printed;
};

// A sweep of one trial, which runs `script` and gets nowhere. As soon as the script has made the file $0, a person asks
// for a stop, so many times.
StoppedSweep stop_sweep(const std::string& script, int requests) {
  const test::TemporaryFolder folder;
  const auto plan = test::dummy_plan(folder / "trials", 1);
  Ledger ledger(plan.store);
  const auto ready = folder / "ready";
  const std::jthread person([&](const std::stop_token& over) {
    while (!std::filesystem::exists(ready) && !over.stop_requested()) std::this_thread::sleep_for(milliseconds(5));
    for (int i = 0; i < requests; ++i) {
      if (i > 0) std::this_thread::sleep_for(milliseconds(1500));  // within a second it would be the same request
      shutdown::request();
    }
  });
  const auto command = [&](const PlannedTrial&) {
    return std::vector<std::string>{"/bin/sh", "-c", script, ready.string()};
  };
  testing::internal::CaptureStdout();
  const auto code = run_local(plan, ledger, command, {.directory = folder.path()});
  return {code, ledger.read(plan.trials[0].id), testing::internal::GetCapturedStdout()};
}

TEST(LocalExecutor, AStopThatATrialCannotHandleYetLeavesItWaiting) {
  const auto stopped = stop_sweep("touch \"$0\"; exec sleep 60", 1);
  EXPECT_EQ(stopped.code, ExitCode::requeue);
  EXPECT_EQ(stopped.trial.exit_code, 128 + SIGUSR2);
  EXPECT_EQ(stopped.trial.state, TrialState::waiting) << stopped.trial.reason;
  EXPECT_EQ(stopped.trial.idle_attempts, 0);
}

TEST(LocalExecutor, ASecondRequestEndsTrialsWithoutFailingThem) {
  const auto stopped = stop_sweep("trap '' USR2; touch \"$0\"; exec sleep 60", 2);
  EXPECT_EQ(stopped.code, ExitCode::requeue);
  EXPECT_EQ(stopped.trial.exit_code, 128 + SIGKILL);
  EXPECT_EQ(stopped.trial.state, TrialState::waiting) << stopped.trial.reason;
  EXPECT_THAT(stopped.printed, testing::HasSubstr("at once: 1 running trials go on from their newest checkpoints"));
}

}  // namespace
}  // namespace spankey::local_executor_test
