// Every sample exactly once per epoch, over any number of kills: the sampler, the cursor and the checkpoint together.
#include <gtest/gtest.h>

#include <map>
#include <numeric>
#include <random>

#include "data/sampler.h"
#include "faults/budget.h"
#include "faults/savers.h"
#include "support/temporary_folder.h"
#include "train/checkpoint_writer.h"

namespace spankey::test::samples_test {
namespace {

constexpr std::int64_t samples = 103, batch = 10, epochs = 4;

enum class Resumption { from_the_cursor, from_the_start_of_the_epoch, one_step_late, with_the_first_epochs_order };

struct Run {
  std::map<std::int64_t, std::vector<std::int64_t>>
      by_step;  // global step -> indices; a step taken again replaces itself
  std::int64_t kills = 0;
};

// Where the next attempt starts.
Cursor resume(const std::filesystem::path& folder, Resumption way) {
  const auto found = newest_valid_checkpoint(folder);
  if (!found) return {};
  auto cursor = decode_checkpoint(found->bytes, "checkpoint").cursor;
  if (way == Resumption::from_the_start_of_the_epoch) cursor.step = 0;
  if (way == Resumption::one_step_late) ++cursor.step;
  return cursor;
}

Run run_with_kills(std::uint64_t seed, Resumption way) {
  const TemporaryFolder folder;
  const Sampler sampler(samples, batch, /*drop_last=*/false, 7);
  std::mt19937_64 random(seed);
  Run run;
  const auto steps = sampler.steps_per_epoch();
  for (bool done = false; !done;) {
    auto cursor = resume(folder.path(), way);
    CheckpointWriter writer(folder.path(), 2, /*async=*/false);
    const bool resumed = cursor.global_step > 0;
    for (auto left = static_cast<std::int64_t>(1 + random() % 12); left > 0 && !done; --left) {
      if (cursor.step >= steps) cursor = {cursor.epoch + 1, 0, cursor.global_step};
      done = cursor.epoch >= epochs;
      if (done) break;
      const auto order_of = way == Resumption::with_the_first_epochs_order && resumed ? 0 : cursor.epoch;
      run.by_step[cursor.global_step] = sampler.global_batch(order_of, cursor.step);
      ++cursor.step;
      ++cursor.global_step;
      if (cursor.global_step % 3 == 0) {
        auto checkpoint = checkpoint_of_step(cursor.global_step);
        checkpoint.cursor = cursor;
        writer.save(std::move(checkpoint));
      }
    }
    run.kills += !done;
  }
  return run;
}

// Each epoch is a run of steps that holds each sample once.
bool every_sample_once(const Run& run) {
  const auto steps = (samples + batch - 1) / batch;
  if (static_cast<std::int64_t>(run.by_step.size()) != epochs * steps) return false;
  for (std::int64_t epoch = 0; epoch < epochs; ++epoch) {
    std::vector<std::int64_t> seen;
    for (std::int64_t step = 0; step < steps; ++step) {
      const auto found = run.by_step.find(epoch * steps + step);
      if (found == run.by_step.end()) return false;
      seen.insert(seen.end(), found->second.begin(), found->second.end());
    }
    std::sort(seen.begin(), seen.end());
    std::vector<std::int64_t> all(static_cast<std::size_t>(samples));
    std::iota(all.begin(), all.end(), 0);
    if (seen != all) return false;
  }
  return true;
}

TEST(Samples, EachOncePerEpochOverAnyNumberOfKills) {
  std::int64_t runs = 0, kills = 0;
  for (const Budget budget(20, 1000); budget.more(runs); ++runs) {
    const auto run = run_with_kills(static_cast<std::uint64_t>(runs), Resumption::from_the_cursor);
    kills += run.kills;
    EXPECT_TRUE(every_sample_once(run)) << "seed " << runs;
  }
  std::printf("kills performed: %lld\n", static_cast<long long>(kills));
  report("R2", "kills with every sample once per epoch", kills, 100);
  EXPECT_GT(kills, 0);
}

TEST(Samples, WrongResumptionsAreCaught) {
  int caught = 0;
  for (const auto way :
       {Resumption::from_the_start_of_the_epoch, Resumption::one_step_late, Resumption::with_the_first_epochs_order}) {
    bool seen = false;
    for (std::uint64_t seed = 0; seed < 5 && !seen; ++seed) {
      // A run that starts its epoch anew after each kill may never end: these seeds do.
      seen = !every_sample_once(run_with_kills(seed, way));
    }
    EXPECT_TRUE(seen);
    caught += seen;
  }
  report_mutants("R2", "the order of samples", caught, 3);
}

// The control of the comparison: the order is not the trivial one, and epochs differ.
TEST(Samples, TheOrderIsShuffled) {
  const Sampler sampler(samples, batch, false, 7);
  const auto first = sampler.global_batch(0, 0);
  EXPECT_FALSE(std::is_sorted(first.begin(), first.end()));
  EXPECT_NE(first, sampler.global_batch(1, 0));
}

}  // namespace
}  // namespace spankey::test::samples_test
