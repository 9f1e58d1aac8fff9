#include "train/resume.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "data/sampler.h"
#include "train/experiment.h"

namespace spankey::resume_test {
namespace {

Experiment experiment(const std::string& batch, const std::string& more = "") {
  return make_experiment(
      parse_config("[data]\nlimit=1024\n[train]\ndrop_last=false\nglobal_batch=" + batch + "\n" + more, "test"));
}

std::int64_t batch_of(const Experiment& e) {
  return e.config.train.global_batch;
}

Sampler sampler_of(const Experiment& e) {
  return {e.train_samples(), batch_of(e), e.config.train.drop_last, static_cast<std::uint64_t>(e.config.run.seed)};
}

Checkpoint at(const Experiment& e, const Cursor& cursor) {
  Checkpoint checkpoint;
  checkpoint.cursor = cursor;
  checkpoint.config_toml = to_toml(e.config);
  checkpoint.data_digest = e.dataset->info().digest;
  return checkpoint;
}

// How often the epoch takes each sample, `steps` of it with the first experiment and the rest with the second.
std::vector<int> taken(const Experiment& first, std::int64_t steps, const Experiment& second,
                       const Continuation& continuation) {
  constexpr std::int64_t epoch = 1;
  std::vector<int> times(static_cast<std::size_t>(first.dataset->train().size));
  const auto take = [&](const Experiment& e, std::int64_t begin, std::int64_t end) {
    for (auto step = begin; step < end; ++step)
      for (const auto sample : sampler_of(e).global_batch(epoch, step)) ++times[static_cast<std::size_t>(sample)];
  };
  take(first, 0, steps);
  take(second, continuation.cursor.step, sampler_of(second).steps_per_epoch());
  return times;
}

TEST(Continuation, TakesEachSampleOnceOrTells) {
  const auto before = experiment("128");
  for (const std::string batch : {"128", "64", "256", "512", "100", "1024", "2000"})
    for (const std::int64_t steps : {1, 3, 4, 7}) {
      const auto after = experiment(batch);
      const auto found = continuation_of(at(before, {1, steps, 8 + steps}), after, sampler_of(after).steps_per_epoch());
      const bool fits = steps * 128 % batch_of(after) == 0;
      EXPECT_EQ(found.told.empty(), fits) << batch << " after " << steps;
      EXPECT_EQ(found.cursor.global_step, 8 + steps);
      const auto times = taken(before, steps, after, found);
      EXPECT_EQ(std::count(times.begin(), times.end(), 1), fits ? 1024 : 1024 - 128 * steps);
      EXPECT_EQ(std::count(times.begin(), times.end(), 2), fits ? 0 : 128 * steps);
    }
}

TEST(Continuation, BeginsAnewWhereTheOrderIsAnother) {
  const auto before = experiment("128");
  const auto anew = [&](const Experiment& after, const Checkpoint& checkpoint) {
    const auto found = continuation_of(checkpoint, after, sampler_of(after).steps_per_epoch());
    EXPECT_EQ(found.cursor.step == 0, !found.told.empty());
    return !found.told.empty();
  };
  const auto checkpoint = at(before, {1, 4, 12});
  EXPECT_FALSE(anew(before, checkpoint));
  EXPECT_TRUE(anew(experiment("128", "[run]\nseed=43\n"), checkpoint));
  auto other_data = checkpoint;
  other_data.data_digest = "other";
  EXPECT_TRUE(anew(before, other_data));
  // At the beginning of an epoch there is nothing to begin anew.
  EXPECT_TRUE(continuation_of(at(before, {1, 0, 8}), experiment("100"), 11).told.empty());
}

}  // namespace
}  // namespace spankey::resume_test
