// Every call by which a save changes the disk fails once in every way: the previous or the new content is there
// afterwards, no failure is told as a success, nothing crashes; and ways of saving that are wrong are caught.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <functional>
#include <span>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "faults/budget.h"
#include "faults/injector.h"
#include "faults/savers.h"
#include "record/run_directory.h"
#include "support/temporary_folder.h"
#include "train/checkpoint_writer.h"

namespace spankey::test::write_points_test {
namespace {

using faults::Action;

constexpr Action actions[] = {Action::kill, Action::torn, Action::no_space, Action::io_error_once,
                              Action::io_error_for_ever};

struct Tally {
  std::int64_t points = 0, injected = 0, killed = 0;
  std::int64_t lost = 0, falsely_reported = 0, crashed = 0, littered = 0, stuck = 0;
  std::int64_t bad() const { return lost + falsely_reported + crashed + littered + stuck; }
};

// What is put under fault. `prepare` fills the empty folder; `work` runs in a process of its own and returns how far it
// got by its own account (its `told`); `judge` looks at what is there afterwards.
struct Subject {
  std::function<void(const std::filesystem::path&)> prepare;
  std::function<int(const std::filesystem::path&)> work;
  // Returns false where something is lost: less than `told` is there, or a mixture.
  std::function<bool(const std::filesystem::path&, int told)> judge;
  // Goes on in the same folder without a fault; false where that is not possible.
  std::function<bool(const std::filesystem::path&)> go_on;
};

void empty(const std::filesystem::path& folder) {
  for (const auto& entry : std::filesystem::directory_iterator(folder)) std::filesystem::remove_all(entry.path());
}

bool has_litter(const std::filesystem::path& folder) {
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    if (entry.path().extension() == ".tmp") return true;
  return false;
}

// The status of a process that does the work with fault number `at`.
int run_with_fault(const Subject& subject, const std::filesystem::path& folder, std::int64_t at, Action action) {
  const pid_t child = fork();
  if (child == 0) {
    // A warning about a file that could not be removed belongs to some of the faults.
    if (freopen("/dev/null", "w", stderr) == nullptr) _exit(99);
    faults::arm({.prefix = folder.string(), .at = at, .action = action});
    int told = 0;
    try {
      told = subject.work(folder);
    } catch (const std::exception&) {
      told = 98;  // an exception that is not an Error
    }
    faults::disarm();
    _exit(told);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return status;
}

void inject(const Subject& subject, const std::filesystem::path& folder, std::int64_t at, Action action, Tally& tally) {
  empty(folder);
  subject.prepare(folder);
  const int status = run_with_fault(subject, folder, at, action);
  ++tally.injected;
  const bool killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
  tally.killed += killed;
  if (!killed && (!WIFEXITED(status) || WEXITSTATUS(status) > 90)) ++tally.crashed;
  const int told = WIFEXITED(status) ? WEXITSTATUS(status) : 0;
  testing::internal::CaptureStderr();  // damaged files are named there
  if (!subject.judge(folder, 0))
    ++tally.lost;
  else if (told <= 90 && !subject.judge(folder, told))
    ++tally.falsely_reported;
  if (!killed && action != Action::io_error_for_ever && has_litter(folder)) ++tally.littered;
  if (!subject.go_on(folder)) ++tally.stuck;
  testing::internal::GetCapturedStderr();
}

Tally sweep(const Subject& subject, std::span<const Action> kinds = actions) {
  const TemporaryFolder folder;
  Tally tally;
  subject.prepare(folder.path());
  faults::arm({.prefix = folder.path().string()});
  subject.work(folder.path());
  tally.points = faults::disarm();
  for (std::int64_t at = 1; at <= tally.points; ++at)
    for (const auto action : kinds) inject(subject, folder.path(), at, action, tally);
  return tally;
}

constexpr int first_step = 3;  // that is there before the fault
constexpr int last_step = 5;

// Saves steps 4 and 5 where 2 and 3 are; returns the last one told to be committed.
Subject checkpoints(Mutation mutation, std::int64_t keep, bool async) {
  const auto save_all = [=](const std::filesystem::path& folder) {
    int told = first_step;
    try {
      if (mutation != Mutation::none) {
        for (int step = first_step + 1; step <= last_step; told = step++)
          save_checkpoint(mutation, folder, keep, checkpoint_of_step(step));
        return told;
      }
      CheckpointWriter writer(folder, keep, async);
      for (int step = first_step + 1; step <= last_step; told = step++) {
        writer.save(checkpoint_of_step(step));
        writer.finish();
      }
    } catch (const Error&) {
    }
    return told;
  };
  return {.prepare =
              [](const std::filesystem::path& folder) {
                for (int step = first_step - 1; step <= first_step; ++step) {
                  static const std::vector<std::vector<std::byte>> encoded{
                      encode_checkpoint(checkpoint_of_step(first_step - 1)),
                      encode_checkpoint(checkpoint_of_step(first_step))};
                  const auto& bytes = encoded[static_cast<std::size_t>(step - first_step + 1)];
                  std::ofstream(checkpoint_path(folder, step), std::ios::binary)
                      .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
                }
              },
          .work = save_all,
          .judge = [](const std::filesystem::path& folder,
                      int told) { return loadable_step(folder) >= std::max(told, first_step); },
          .go_on =
              [=](const std::filesystem::path& folder) {
                save_checkpoint(Mutation::none, folder, keep, checkpoint_of_step(last_step + 1));
                return loadable_step(folder) == last_step + 1 &&
                       list_checkpoints(folder).size() <= static_cast<std::size_t>(keep) + 1;
              }};
}

// Replaces one file; told 1: the new content is there.
Subject one_file(Mutation mutation) {
  static const std::string before(3000, 'a'), after(5000, 'b');
  const auto put = [](Mutation way, const std::filesystem::path& folder, const std::string& text) {
    write_file(way, folder / "file", std::as_bytes(std::span(text)));
  };
  return {.prepare = [=](const std::filesystem::path& folder) { put(Mutation::none, folder, before); },
          .work =
              [=](const std::filesystem::path& folder) {
                try {
                  put(mutation, folder, after);
                  return 1;
                } catch (const Error&) {
                  return 0;
                }
              },
          .judge =
              [](const std::filesystem::path& folder, int told) {
                std::ifstream file(folder / "file", std::ios::binary);
                const std::string text{std::istreambuf_iterator<char>(file), {}};
                return text == after || (told == 0 && text == before);
              },
          .go_on =
              [=](const std::filesystem::path& folder) {
                put(Mutation::none, folder, before);
                return read_text(folder / "file") == before && !has_litter(folder);
              }};
}

void expect_nothing_lost(const std::string& what, const Tally& tally) {
  std::printf("%s: %lld points, %lld faults, %lld kills: %lld of %lld lost, %lld told falsely, %lld crashes\n",
              what.c_str(), static_cast<long long>(tally.points), static_cast<long long>(tally.injected),
              static_cast<long long>(tally.killed), static_cast<long long>(tally.lost),
              static_cast<long long>(tally.injected), static_cast<long long>(tally.falsely_reported),
              static_cast<long long>(tally.crashed));
  EXPECT_GT(tally.points, 8);
  EXPECT_EQ(tally.injected, tally.points * static_cast<std::int64_t>(std::size(actions)));
  EXPECT_EQ(tally.killed, 2 * tally.points);
  EXPECT_EQ(tally.lost, 0);
  EXPECT_EQ(tally.falsely_reported, 0);
  EXPECT_EQ(tally.crashed, 0);
  EXPECT_EQ(tally.littered, 0);
  EXPECT_EQ(tally.stuck, 0);
}

TEST(WritePoints, NoCheckpointIsLost) {
  std::int64_t injected = 0, killed = 0, bad = 0;
  for (const bool async : {false, true})
    for (const std::int64_t keep : {1, 2, 3}) {
      const auto tally = sweep(checkpoints(Mutation::none, keep, async));
      expect_nothing_lost("keep " + std::to_string(keep) + (async ? ", async" : ""), tally);
      injected += tally.injected;
      killed += tally.killed;
      bad += tally.bad();
    }
  report("R4", "write points x faults of checkpoint saves", injected, injected);
  report("R4", "kills at write points", killed, killed);
  report("R4", "lost, told falsely, crashed, littered or stuck", bad);
  EXPECT_GT(injected, 300);
}

TEST(WritePoints, NoFileIsAMixture) {
  const auto tally = sweep(one_file(Mutation::none));
  expect_nothing_lost("one file", tally);
  report("R4", "write points x faults of other files", tally.injected, tally.injected);
}

// What the sweeps above are worth: they catch every way of saving that is wrong where a fault shows it. (Missing fsyncs
// show in a power loss only: power_loss_test.)
TEST(WritePoints, MutantsAreCaught) {
  struct Count {
    int caught = 0, mutants = 0;
  };
  Count saving, pruning, full_disk;
  const auto expect_caught = [&](Count& count, const char* name, const Subject& subject,
                                 std::span<const Action> kinds = actions) {
    const auto tally = sweep(subject, kinds);
    std::printf("mutant %s: %lld lost, %lld told falsely, %lld stuck of %lld\n", name,
                static_cast<long long>(tally.lost), static_cast<long long>(tally.falsely_reported),
                static_cast<long long>(tally.stuck), static_cast<long long>(tally.injected));
    EXPECT_GT(tally.lost + tally.falsely_reported, 0) << name;
    ++count.mutants;
    count.caught += tally.lost + tally.falsely_reported > 0;
  };
  expect_caught(saving, "renamed before written", one_file(Mutation::renamed_before_written));
  expect_caught(saving, "write error ignored", one_file(Mutation::write_error_ignored));
  expect_caught(saving, "success although close failed", one_file(Mutation::close_error_ignored));
  expect_caught(saving, "written in place", one_file(Mutation::written_in_place));
  expect_caught(pruning, "pruned before saved", checkpoints(Mutation::pruned_before_saved, 1, false));
  expect_caught(pruning, "pruned before verified", checkpoints(Mutation::pruned_before_verified, 1, false));
  constexpr Action no_space[] = {Action::no_space};
  expect_caught(full_disk, "full disk, written in place", one_file(Mutation::written_in_place), no_space);
  expect_caught(full_disk, "full disk, pruned before saved", checkpoints(Mutation::pruned_before_saved, 1, false),
                no_space);
  report_mutants("R4", "ways to replace a file, at every write point", saving.caught, saving.mutants);
  report_mutants("R12", "ways to prune, at every write point", pruning.caught, pruning.mutants);
  report_mutants("R11", "ways to save on a full disk", full_disk.caught, full_disk.mutants);
  EXPECT_EQ(saving.caught + pruning.caught + full_disk.caught, 8);
}

// A prune that is killed or refused at any of its removals leaves the newest checkpoint, whatever else.
TEST(WritePoints, RetentionKeepsTheNewestUnderKills) {
  const TemporaryFolder folder;
  std::int64_t removals = 0, injected = 0;
  const auto fill = [&] {
    empty(folder.path());
    for (int step = 1; step <= 6; ++step)
      write_durably(checkpoint_path(folder.path(), step), encode_checkpoint(checkpoint_of_step(step)));
  };
  const auto newest = checkpoint_path(folder.path(), 6);
  fill();
  faults::arm({.prefix = folder.path().string(), .calls = faults::only(faults::Call::unlink)});
  retain_checkpoints(folder.path(), newest, 1);
  removals = faults::disarm();
  for (std::int64_t at = 1; at <= removals; ++at)
    for (const auto action : actions) {
      fill();
      const pid_t child = fork();
      if (child == 0) {
        if (freopen("/dev/null", "w", stderr) == nullptr) _exit(99);
        faults::arm({.prefix = folder.path().string(),
                     .at = at,
                     .action = action,
                     .calls = faults::only(faults::Call::unlink)});
        retain_checkpoints(folder.path(), newest, 1);
        _exit(0);
      }
      waitpid(child, nullptr, 0);
      ++injected;
      EXPECT_EQ(loadable_step(folder.path()), 6);
    }
  EXPECT_EQ(removals, 5);
  report("R12", "faults while pruning", injected, injected);
}

// Files of another run, of later steps (an attempt that went further) and of the same name in a sub-folder stay.
TEST(WritePoints, RetentionTouchesNothingElse) {
  const TemporaryFolder folder;
  const auto bytes = encode_checkpoint(checkpoint_of_step(9));
  std::filesystem::create_directory(folder / "other");
  for (const char* name :
       {"other/step_00000001.h5", "step_1.h5", "step_00000001.h5.bak", "notes.h5", "step_00000009.h5"})
    write_durably(folder / name, bytes);
  write_durably(folder / "step_00000004.h5", encode_checkpoint(checkpoint_of_step(4)));
  save_checkpoint(Mutation::none, folder.path(), 1, checkpoint_of_step(5));
  EXPECT_FALSE(std::filesystem::exists(folder / "step_00000004.h5"));
  for (const char* name : {"other/step_00000001.h5", "step_1.h5", "step_00000001.h5.bak", "notes.h5",
                           "step_00000009.h5", "step_00000005.h5"})
    EXPECT_TRUE(std::filesystem::exists(folder / name)) << name;
}

}  // namespace
}  // namespace spankey::test::write_points_test
