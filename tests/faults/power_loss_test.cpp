// A loss of power at any moment leaves the last checkpoint that was told to be committed, or a later one.
#include "faults/power_loss.h"

#include <gtest/gtest.h>

#include <span>

#include "base/file.h"
#include "faults/budget.h"
#include "faults/savers.h"
#include "support/temporary_folder.h"

namespace spankey::test::power_loss_test {
namespace {

constexpr std::int64_t whole = 10000;

// Inodes are reused once a file is gone; the record would take two files for one.
class HeldFiles {
 public:
  void hold(const std::filesystem::path& folder) {
    for (const auto& entry : std::filesystem::directory_iterator(folder))
      std::filesystem::create_hard_link(entry.path(), links_ / std::to_string(count_++));
  }

 private:
  TemporaryFolder links_;
  int count_ = 0;
};

struct Losses {
  std::int64_t seeds = 0, lost = 0;
};

Losses of_checkpoints(Mutation mutation, std::int64_t keep, std::int64_t sample, std::int64_t all) {
  const TemporaryFolder folder, disk;
  HeldFiles held;
  PowerLoss record(folder.path());
  for (int step = 1; step <= 6; ++step) {
    save_checkpoint(mutation, folder.path(), keep, checkpoint_of_step(step));
    record.mark(step);
    held.hold(folder.path());
  }
  record.stop();
  Losses losses;
  testing::internal::CaptureStderr();  // damaged files are named there
  for (const Budget budget(sample, all); budget.more(losses.seeds); ++losses.seeds) {
    const auto state = record.after(static_cast<std::uint64_t>(losses.seeds));
    PowerLoss::materialize(state, disk.path());
    const auto step = loadable_step(disk.path());
    losses.lost += step < state.done || step > 6;
  }
  testing::internal::GetCapturedStderr();
  return losses;
}

// One file replaced again and again: version k is k bytes 'k' and so on.
Losses of_one_file(Mutation mutation, std::int64_t sample, std::int64_t all) {
  const TemporaryFolder folder;
  HeldFiles held;
  const auto version = [](int k) { return std::string(static_cast<std::size_t>(700 * k), static_cast<char>('a' + k)); };
  PowerLoss record(folder.path());
  for (int k = 1; k <= 6; ++k) {
    const std::string content = version(k);
    write_file(mutation, folder / "file", std::as_bytes(std::span(content)));
    record.mark(k);
    held.hold(folder.path());
  }
  record.stop();
  Losses losses;
  for (const Budget budget(sample, all); budget.more(losses.seeds); ++losses.seeds) {
    const auto state = record.after(static_cast<std::uint64_t>(losses.seeds));
    const auto found = state.files.find("file");
    bool good = found == state.files.end() && state.done == 0;
    for (int k = std::max(1, state.done); k <= 6 && !good && found != state.files.end(); ++k) {
      const auto expected = version(k);
      const auto bytes = std::as_bytes(std::span(expected));
      good = std::equal(bytes.begin(), bytes.end(), found->second.begin(), found->second.end());
    }
    losses.lost += !good;
  }
  return losses;
}

TEST(PowerLoss, NoCheckpointIsLost) {
  Losses all;
  for (const std::int64_t keep : {1, 2}) {
    const auto losses = of_checkpoints(Mutation::none, keep, 400, whole);
    all.seeds += losses.seeds;
    all.lost += losses.lost;
  }
  std::printf("power losses: %lld of %lld lost\n", static_cast<long long>(all.lost), static_cast<long long>(all.seeds));
  report("R5", "power losses during checkpoint saves", all.seeds, 2 * whole);
  report("R5", "checkpoints lost to them", all.lost);
  EXPECT_GT(all.seeds, 0);
  EXPECT_EQ(all.lost, 0);
}

TEST(PowerLoss, NoFileIsAMixture) {
  const auto losses = of_one_file(Mutation::none, 2000, whole);
  report("R5", "power losses while a file is replaced", losses.seeds, whole);
  EXPECT_GT(losses.seeds, 0);
  EXPECT_EQ(losses.lost, 0);
}

TEST(PowerLoss, MutantsAreCaught) {
  int mutants = 0, caught = 0;
  const auto expect_caught = [&](const char* name, const Losses& losses) {
    std::printf("mutant %s: %lld of %lld lost\n", name, static_cast<long long>(losses.lost),
                static_cast<long long>(losses.seeds));
    EXPECT_GT(losses.lost, 0) << name;
    ++mutants;
    caught += losses.lost > 0;
  };
  expect_caught("no fsync", of_checkpoints(Mutation::no_fsync, 1, 300, 300));
  expect_caught("no fsync of the folder", of_checkpoints(Mutation::no_fsync_of_the_folder, 1, 300, 300));
  expect_caught("pruned before saved", of_checkpoints(Mutation::pruned_before_saved, 1, 300, 300));
  expect_caught("no fsync, one file", of_one_file(Mutation::no_fsync, 300, 300));
  expect_caught("no fsync of the folder, one file", of_one_file(Mutation::no_fsync_of_the_folder, 300, 300));
  expect_caught("written in place, one file", of_one_file(Mutation::written_in_place, 300, 300));
  report_mutants("R5", "power losses", caught, mutants);
  EXPECT_EQ(caught, mutants);
}

// The model itself: what was synced is there to the byte, whatever the seed; and a record without a sync is no record.
TEST(PowerLoss, TheModelKeepsWhatWasSynced) {
  const TemporaryFolder folder;
  PowerLoss record(folder.path());
  const std::string text(2000, 'x');
  write_durably(folder / "file", text);
  record.mark(1);
  record.stop();
  EXPECT_EQ(record.syncs(), 2U);
  EXPECT_GE(record.events(), 6U);
  int whole_files = 0, absent = 0, other = 0;
  for (std::uint64_t seed = 0; seed < 500; ++seed) {
    const auto state = record.after(seed);
    const auto found = state.files.find("file");
    if (found == state.files.end()) {
      ++absent;
      EXPECT_EQ(state.done, 0);
    } else {
      const auto bytes = std::as_bytes(std::span(text));
      (std::equal(bytes.begin(), bytes.end(), found->second.begin(), found->second.end()) ? whole_files : other) += 1;
    }
  }
  EXPECT_GT(whole_files, 0);
  EXPECT_GT(absent, 0);
  EXPECT_EQ(other, 0);
}

}  // namespace
}  // namespace spankey::test::power_loss_test
