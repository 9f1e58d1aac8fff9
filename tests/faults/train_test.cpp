// The real program under faults: kills at every step and at any moment, failing calls, full disks, a second attempt,
// changed circumstances. Whatever happens, the run ends in order and a restart ends with the undisturbed run's bits.
#include <ATen/ATen.h>
#include <sys/wait.h>

#include <algorithm>
#include <cmath>
#include <csignal>
#include <functional>
#include <random>
#include <thread>

#include "base/file.h"
#include "cli/small_run.h"
#include "faults/budget.h"
#include "support/expect_error.h"
#include "train/checkpoint.h"

namespace spankey::test {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;
using testing::AllOf;
using testing::HasSubstr;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

struct Fault {
  std::string prefix, action, calls;
  int at = 0;
  std::string log;
};

class Train : public SmallRun {
 protected:
  // The ranks get the injector, mpirun does not; the fault is rank 0's, which alone writes.
  std::vector<std::string> under_fault(std::vector<std::string> command, const Fault& fault) const {
    const auto place = std::find(command.begin(), command.end(), program());
    std::vector<std::string> environment{"env",
                                         "LD_PRELOAD=" SPANKEY_FAULTS_LIBRARY,
                                         "ASAN_OPTIONS=verify_asan_link_order=0",
                                         "SPANKEY_FAULT_PREFIX=" + fault.prefix,
                                         "SPANKEY_FAULT_AT=" + std::to_string(fault.at),
                                         "SPANKEY_FAULT_ACTION=" + fault.action,
                                         "SPANKEY_FAULT_CALLS=" + fault.calls};
    if (place != command.begin()) environment.emplace_back("SPANKEY_FAULT_RANK=0");
    if (!fault.log.empty()) environment.push_back("SPANKEY_FAULT_LOG=" + fault.log);
    command.insert(place, environment.begin(), environment.end());
    return command;
  }

  std::string absolute(const std::string& name) const { return (folder / name).string() + "/"; }

  int lines_of(const std::string& name) const {
    std::ifstream file(folder / name);
    return static_cast<int>(std::count(std::istreambuf_iterator<char>(file), {}, '\n'));
  }

  int newest_step(const std::string& run) const {
    const auto files = list_checkpoints(folder / (run + "/checkpoints"));
    return files.empty() ? 0 : std::stoi(files.front().stem().string().substr(5));
  }

  // Of the last whole line of metrics.jsonl; 0: none.
  int metrics_step(const std::string& run) const {
    std::ifstream file(folder / (run + "/metrics.jsonl"));
    int step = 0;
    for (std::string line; std::getline(file, line);)
      if (const auto json = nlohmann::json::parse(line, nullptr, false); json.is_object())
        step = json.value("global_step", 0);
    return step;
  }
  std::filesystem::file_time_type metrics_time(const std::string& run) const {
    std::error_code none;
    return std::filesystem::last_write_time(folder / (run + "/metrics.jsonl"), none);
  }

  void wait_for_step(Child& child, const std::string& run, int step) const {
    while (child.running() && newest_step(run) < step) std::this_thread::sleep_for(milliseconds(1));
  }

  Checkpoint newest_checkpoint(const std::string& run) const {
    const auto found = newest_valid_checkpoint(folder / (run + "/checkpoints"));
    if (!found) throw std::runtime_error("no checkpoint");
    return decode_checkpoint(found->bytes, found->path.string());
  }

  int litter(const std::string& run) const {
    int count = 0;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(folder / run))
      count += entry.path().extension() == ".tmp";
    return count;
  }

  // On a small file system of its own; false where mounting is not allowed.
  bool mount_small(const std::string& name, const std::string& size) const {
    std::filesystem::create_directory(folder / name);
    return test::run({"mount", "-t", "tmpfs", "-o", "size=" + size, "tmpfs", (folder / name).string()}, folder.path())
               .exit_code == 0;
  }
};

TEST_F(Train, AFaultAtAnyCallLosesNothing) {
  const std::vector<std::string> few{"train.epochs=2"};
  expect_success(
      under_fault(train(1, "undisturbed", few),
                  {.prefix = absolute("undisturbed"), .action = {}, .calls = {}, .log = absolute("") + "log"}));
  const auto expected = tensors("undisturbed");
  const int points = lines_of("log");
  const char* actions[] = {"kill", "torn", "enospc", "eio", "eio-forever"};
  const std::int64_t whole = std::int64_t{points} * 5;
  std::int64_t injected = 0, kills = 0, lost = 0, hung = 0, crashed = 0;
  std::mt19937 random(5);
  for (const Budget budget(5, whole, Part::real_faults); budget.more(injected); ++injected) {
    const auto run = "fault" + std::to_string(injected);
    const auto* action = actions[injected % 5];
    // Under launch/torture every call in turn, otherwise some.
    const auto call =
        torture_seconds() > 0 ? injected / 5 : static_cast<std::int64_t>(random() % static_cast<unsigned>(points));
    const int at = 1 + static_cast<int>(call);
    const auto outcome = test::run(
        under_fault(train(1, run, few), {.prefix = absolute(run), .action = action, .calls = {}, .at = at, .log = {}}),
        folder.path(), std::chrono::seconds(60));
    const auto after = test::run(train(1, run, few), folder.path(), std::chrono::seconds(60));
    kills += outcome.exit_code == 128 + SIGKILL;
    hung += outcome.timed_out || after.timed_out;
    crashed += outcome.exit_code > 128 && outcome.exit_code != 128 + SIGKILL && !outcome.timed_out;
    const bool same = after.exit_code == 0 && tensors(run) == expected;
    lost += !same;
    EXPECT_TRUE(same) << action << " at " << at << ": " << outcome.err << after.out << after.err;
    if (outcome.exit_code != 128 + SIGKILL) {
      EXPECT_THAT(outcome.exit_code, testing::AnyOf(0, 2, 3)) << action << " at " << at << ": " << outcome.err;
    }
    std::filesystem::remove_all(folder / run);
  }
  std::printf("faults in the real program: %lld of %lld lost, %lld kills, %d points\n", static_cast<long long>(lost),
              static_cast<long long>(injected), static_cast<long long>(kills), points);
  report("R4", "faults in calls of the real program", injected, whole);
  report("R4", "runs lost, hung or crashed by them", lost + hung + crashed);
  EXPECT_GT(points, 50);
  EXPECT_GT(kills, 0);
  EXPECT_EQ(lost + hung + crashed, 0);
}

// Killed as the checkpoint of step k gets its name, for every k; each run goes on and ends with the same bits.
TEST_F(Train, AKillAtEveryStepIsSurvived) {
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

// Launcher and ranks at once, or the launcher alone, at any moment.
TEST_F(Train, AKillAtAnyMomentIsSurvived) {
  const std::vector<std::string> long_epochs{"train.global_batch=32",
                                             "checkpoint.every_steps=" + std::to_string(save_every)};
  expect_success(train(2, "undisturbed", long_epochs));
  const auto expected = tensors("undisturbed");
  std::mt19937 random(11);
  std::int64_t kills = 0, lost = 0;
  Measured first_step, next_checkpoint, lost_steps;
  auto killed_at = Clock::now();
  for (const Budget budget(4, 200, Part::real_moments); budget.more(kills);) {
    std::filesystem::remove_all(folder / "killed");
    for (bool done = false; !done;) {
      const int before = newest_step("killed");
      const auto started = Clock::now();
      const auto metrics_before = metrics_time("killed");
      Child child(train(2, "killed", long_epochs), folder.path());
      if (!budget.more(kills)) {
        EXPECT_EQ(child.wait().exit_code, 0);
        break;
      }
      if (before > 0) {
        while (child.running() && (metrics_time("killed") == metrics_before || metrics_step("killed") <= before))
          std::this_thread::sleep_for(milliseconds(1));
        if (child.running()) first_step.add(seconds_since(started));
      }
      wait_for_step(child, "killed", before + 1);
      if (before > 0 && newest_step("killed") > before) next_checkpoint.add(seconds_since(killed_at));
      std::this_thread::sleep_for(milliseconds(random() % 400));
      done = !child.running();
      if (done) break;
      killed_at = Clock::now();
      if (random() % 2 == 0)
        child.kill_tree();
      else
        child.signal(SIGKILL);
      child.wait();
      ++kills;
      // The step after the last line but the next one's was the last that can have been taken.
      lost_steps.add(std::max(0, metrics_step("killed") + metrics_every - 1 - newest_step("killed")));
    }
    const bool same = tensors("killed") == expected;
    EXPECT_TRUE(same);
    lost += !same;
  }
  report("R1", "kills at random moments", kills, 200);
  report("R1", "runs that ended with other bits after kills at random moments", lost);
  first_step.report("recovery from the restart to the first new line of metrics, 1 to 10 steps (ms)", 1e3);
  next_checkpoint.report("recovery from the kill to the next new checkpoint (ms)", 1e3);
  lost_steps.report("steps lost to a kill where 20 lie between checkpoints, 9 of them at most unseen", 1);
  EXPECT_GT(kills, 0);
  EXPECT_GT(first_step.count, 0);
  // Those since a checkpoint, those while it was written (a second one waits for it), and what nobody saw.
  EXPECT_LE(lost_steps.worst, 2 * save_every + metrics_every - 1);
}

// The mutants: checkpoints that lack one thing. What is compared after each kill must show it.
TEST_F(Train, CheckpointsThatForgetAreCaught) {
  const std::vector<std::string> few{"train.epochs=3"};
  expect_success(train(1, "undisturbed", few));
  const auto expected = tensors("undisturbed");
  Child child(train(1, "run", few), folder.path());
  wait_for_step(child, "run", 6);
  child.kill_tree();
  child.wait();
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

TEST_F(Train, ASupersededAttemptStopsWithoutWriting) {
  Child child(train(1, "run", {"train.epochs=1000"}), folder.path());
  wait_for_step(child, "run", 3);
  write_durably(folder / "run/lease", R"({"attempt":2,"host":"elsewhere","boot_id":"x","pid":1,"start_time":"1"})");
  std::this_thread::sleep_for(milliseconds(20));  // a save that had been asked already may end
  const int newest = newest_step("run");
  const auto outcome = child.wait(std::chrono::seconds(20));
  EXPECT_EQ(outcome.exit_code, 3) << outcome.err;
  EXPECT_THAT(outcome.err, AllOf(HasSubstr("attempt 1 no longer holds"), HasSubstr("elsewhere")));
  EXPECT_EQ(outcome.err.find("no longer holds"), outcome.err.rfind("no longer holds")) << "said more than once";
  EXPECT_EQ(newest_step("run"), newest);
  EXPECT_EQ(litter("run"), 0);
  EXPECT_THAT(read_text(folder / "run/lease"), HasSubstr("elsewhere"));  // it is the other attempt's
}

TEST_F(Train, HalfWrittenFilesOfDeadAttemptsGo) {
  Child child(train(1, "run"), folder.path());
  wait_for_step(child, "run", 3);
  child.kill_tree();
  child.wait();
  for (const char* name : {"run/checkpoints/step_00000099.h5.tmp", "run/config.toml.tmp", "run/secret/basis.h5.tmp"})
    std::ofstream(folder / name) << "half";
  expect_success(train(1, "run"));
  EXPECT_EQ(litter("run"), 0);
  EXPECT_EQ(read_text(folder / "run/attempt"), "2\n");
  EXPECT_FALSE(std::filesystem::exists(folder / "run/lease"));
}

TEST_F(Train, ARunThatCouldNotSaveTwiceIsNotStarted) {
  if (!mount_small("disk", "400k")) GTEST_SKIP() << "mounting a small file system takes root";
  const auto outcome = test::run(train(1, "disk/run"), folder.path());
  EXPECT_EQ(outcome.exit_code, 3) << outcome.out << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("two checkpoints take"));
  EXPECT_EQ(newest_step("disk/run"), 0);
  EXPECT_EQ(test::run({"mount", "-o", "remount,size=16m", (folder / "disk").string()}, folder.path()).exit_code, 0);
  expect_success(train(1, "disk/run"));
  test::run({"umount", (folder / "disk").string()}, folder.path());
  report("R11", "starts refused for lack of room", 1, 1);
}

struct Change {
  const char* override;
  const char* diff;
};

TEST_F(Train, AChangedConfigurationIsRefusedWithADiff) {
  expect_success(train(1, "run", {"train.epochs=1"}));
  const Change changes[] = {
      {"run.seed=43", "run.seed: 42 -> 43"},
      {"data.limit=512", "data.limit: 1024 -> 512"},
      {"key.gamma=1.0", "key.gamma: 0.5 -> 1"},
      {"key.m=3", "key.m: "},
      {"deny.mode=none", "deny.mode: "},
      {"optim.lr=0.5", "optim.lr: "},
      {"train.global_batch=64", "train.global_batch: 128 -> 64"},
      {"train.epochs=2", "train.epochs: 1 -> 2"},
      {"dist.reduction=elastic", "dist.reduction: "},
  };
  int refused = 0;
  for (const auto& [override, diff] : changes) {
    std::vector<std::string> more{"train.epochs=1", override};
    const auto outcome = test::run(train(1, "run", more), folder.path());
    EXPECT_EQ(outcome.exit_code, 2) << override << outcome.err;
    EXPECT_THAT(outcome.err, AllOf(HasSubstr(diff), HasSubstr("--allow-change")));
    refused += outcome.exit_code == 2;
  }
  report("R17", "changes of the configuration refused", refused, std::size(changes));
  EXPECT_EQ(test::run(train(1, "run", {"train.epochs=1", "checkpoint.keep=5"}), folder.path()).exit_code, 0);
}

// The mutants: runs whose files tell what the next start wants to hear are not refused, and end with other weights than
// a run of that configuration.
TEST_F(Train, RunsThatTellOfAnotherConfigurationAreCaught) {
  const std::string few = "train.epochs=3";
  Child child(train(1, "run", {few}), folder.path());
  wait_for_step(child, "run", 6);
  child.kill_tree();
  child.wait();
  const auto original = newest_checkpoint("run");
  int caught = 0;
  for (const std::string override : {"key.gamma=1.0", "optim.lr=0.01"}) {
    expect_success(train(1, "of " + override, {few, override}));
    const auto truth = newest_checkpoint("of " + override);
    const auto run = "forged " + override;
    std::filesystem::copy(folder / "run", folder / run, std::filesystem::copy_options::recursive);
    std::filesystem::copy_file(folder / ("of " + override + "/config.toml"), folder / (run + "/config.toml"),
                               std::filesystem::copy_options::overwrite_existing);
    auto forged = original;
    forged.config_toml = truth.config_toml;
    forged.config_hash = truth.config_hash;
    write_durably(checkpoint_path(folder / (run + "/checkpoints"), original.cursor.global_step),
                  encode_checkpoint(forged));
    const auto outcome = test::run(train(1, run, {few, override}), folder.path());
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    const bool seen = outcome.exit_code != 2 && tensors(run) != tensors("of " + override);
    EXPECT_TRUE(seen) << override;
    caught += seen;
  }
  report_mutants("R17", "runs that tell of another configuration", caught, 2);
}

// Other data and another program, as a checkpoint that tells of them shows.
TEST_F(Train, ChangedDataAndProgramsAreRefusedWithADiff) {
  Child child(train(1, "run"), folder.path());
  wait_for_step(child, "run", 6);
  child.kill_tree();
  child.wait();
  const auto original = newest_checkpoint("run");
  const auto path = checkpoint_path(folder / "run/checkpoints", original.cursor.global_step);
  int refused = 0;
  const auto expect_refused = [&](const Checkpoint& changed, const char* diff) {
    write_durably(path, encode_checkpoint(changed));
    const auto outcome = test::run(train(1, "run"), folder.path());
    EXPECT_EQ(outcome.exit_code, 2) << outcome.err;
    EXPECT_THAT(outcome.err, AllOf(HasSubstr(diff), HasSubstr(path.filename().string()), HasSubstr("--allow-change")));
    refused += outcome.exit_code == 2;
  };
  auto changed = original;
  changed.data_digest = std::string(64, '0');
  expect_refused(changed, "data: 0000000000000000 -> ");
  changed = original;
  changed.program = "0.0.9 (git 01234567)";
  expect_refused(changed, "program: 0.0.9 (git 01234567) -> ");
  report("R17", "changes of data and program refused", refused, 2);
  // The mutant: a start that compares nothing goes on.
  expect_success(train(1, "run", {"--allow-change"}));
  report_mutants("R17", "a start that compares nothing", 1, 1);
  write_durably(path, encode_checkpoint(changed));  // looking at a finished run is no training
  expect_success(train(1, "run"));
}

}  // namespace
}  // namespace spankey::test
