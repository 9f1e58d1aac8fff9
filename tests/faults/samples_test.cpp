// Every sample exactly once per epoch, over any number of kills: the sampler, the cursor and the checkpoint together.
#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <map>
#include <numeric>
#include <random>

#include "base/file.h"
#include "data/dataset.h"
#include "data/sampler.h"
#include "faults/budget.h"
#include "faults/faulty_run.h"
#include "faults/savers.h"
#include "record/run_directory.h"
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

// The real program. Sample i is the i-th unit vector, so that column i of the first layer's weight is changed by that
// sample alone: plain gradient descent at a small rate tells from the checkpoints how often it was used in an epoch.
constexpr std::int64_t vectors = 128, vectors_a_step = 4, vector_epochs = 3;
constexpr std::int64_t vector_steps = vectors / vectors_a_step;  // of an epoch
constexpr double rate = 0.01;

class RealSamples : public FaultyRun {
 protected:
  void SetUp() override {
    FaultyRun::SetUp();
    DatasetContent content;
    content.sample_shape = {vectors};
    content.class_names = {"a", "b", "c"};
    content.source = "made for a test";
    for (auto [split, count] : {std::pair(&content.train, vectors), std::pair(&content.test, std::int64_t{4})}) {
      for (std::int64_t i = 0; i < count * vectors; ++i)
        split->features.push_back(i % (vectors + 1) == 0 ? 1.0F : 0.0F);
      for (std::int64_t i = 0; i < count; ++i) split->labels.push_back(i % 3);
    }
    Dataset::in_memory(std::move(content))->save(folder / "vectors.h5");
    expect_success(command(1, "initial", 1e-30));  // weights that no step changes
  }

  // Without momentum a step changes the columns of its own samples alone.
  std::vector<std::string> command(int ranks, const std::string& run, double lr = rate) const {
    return train(ranks, run,
                 {"data.file=vectors.h5", "data.limit=0", "model.name=mlp", "train.twin=vanilla", "optim.name=sgd",
                  "optim.momentum=0", fmt::format("optim.lr={:g}", lr), fmt::format("train.epochs={}", vector_epochs),
                  fmt::format("train.global_batch={}", vectors_a_step), "eval.every_epochs=0",
                  "checkpoint.every_steps=1", "checkpoint.keep=1000", "checkpoint.async=false"});
  }

  // Weights after each epoch, those before the first one in front; ends of epochs are told by the cursor.
  std::vector<Checkpoint> ends_of_epochs(const std::string& run) const {
    std::vector<Checkpoint> ends{newest_checkpoint("initial")};
    auto files = list_checkpoints(folder / (run + "/checkpoints"));
    for (auto file = files.rbegin(); file != files.rend(); ++file) {
      auto checkpoint = decode_checkpoint(read_bytes(*file), file->string());
      if (checkpoint.cursor.step == 0) ends.push_back(std::move(checkpoint));
    }
    return ends;
  }

  static at::Tensor parameter(const Checkpoint& checkpoint, const std::string& name) {
    for (const auto& tensor : checkpoint.parameters)
      if (tensor.name == name) return tensor.value.to(at::kDouble);
    throw std::runtime_error("no parameter " + name);
  }

  // (vectors, 64): by how much one use of each sample changes its column, from the chain rule.
  static at::Tensor change_of_one_use(const Checkpoint& at_weights) {
    const auto weight = [&](const char* layer) { return parameter(at_weights, fmt::format("net.{}.weight", layer)); };
    const auto bias = [&](const char* layer) { return parameter(at_weights, fmt::format("net.{}.bias", layer)); };
    const auto h1 = (weight("0").t() + bias("0")).relu();
    const auto h2 = (h1.mm(weight("2").t()) + bias("2")).relu();
    const auto logits = h2.mm(weight("4").t()) + bias("4");
    const auto labels = at::arange(vectors).remainder(3);
    const auto by_logits = logits.softmax(1) - at::one_hot(labels, 3);
    const auto by_h1 = (by_logits.mm(weight("4")) * (h2 > 0)).mm(weight("2")) * (h1 > 0);
    return by_h1 * (-rate / static_cast<double>(vectors_a_step));
  }

  // True where each epoch has used each sample once.
  bool every_sample_once(const std::string& run) const {
    const auto ends = ends_of_epochs(run);
    if (std::ssize(ends) != vector_epochs + 1) return false;
    for (std::size_t epoch = 1; epoch < ends.size(); ++epoch) {
      const auto change = (parameter(ends[epoch], "net.0.weight") - parameter(ends[epoch - 1], "net.0.weight")).t();
      const auto one = change_of_one_use(ends[epoch - 1]);
      const auto uses = (change * one).sum(1) / one.square().sum(1);  // (vectors)
      if ((uses - 1).abs().max().item<double>() > 0.25) return false;
    }
    return true;
  }
};

TEST_F(RealSamples, EachOncePerEpochOverAnyNumberOfKills) {
  std::mt19937 random(5);
  std::int64_t kills = 0, lost = 0;
  for (const Budget budget(3, 60); budget.more(kills);) {
    std::filesystem::remove_all(folder / "killed");
    for (bool done = false; !done;) {
      Child child(command(2, "killed"), folder.path());
      if (budget.more(kills))
        wait_for_step(child, "killed", newest_step("killed") + 1 + static_cast<int>(random() % vector_steps));
      else
        EXPECT_EQ(child.wait().exit_code, 0);
      done = !child.running();
      if (done) break;
      child.kill_tree();
      done = child.wait().exit_code == 0;
      kills += !done;
    }
    const bool once = every_sample_once("killed");
    EXPECT_TRUE(once);
    lost += !once;
  }
  report("R2", "kills of the real program with every sample once per epoch, by its weights", kills, 60);
  report("R2", "runs with a sample left out or used twice", lost);
  EXPECT_GT(kills, 0);
}

// The mutants: checkpoints whose place in the epoch is another one.
TEST_F(RealSamples, AnotherPlaceInTheEpochIsCaught) {
  constexpr std::int64_t killed_at = vector_steps + 5;
  expect_success(command(1, "run"));
  const std::pair<const char*, std::int64_t> places[] = {{"its own", 0}, {"one step on", 1}, {"one step back", -1}};
  int caught = 0;
  for (const auto& [what, steps_on] : places) {
    const auto run = std::string("at ") + what;
    const auto checkpoints = folder / (run + "/checkpoints");
    std::filesystem::create_directories(checkpoints);
    std::filesystem::copy(folder / "run/secret", folder / (run + "/secret"));
    for (std::int64_t step = 1; step < killed_at; ++step)
      std::filesystem::copy_file(checkpoint_path(folder / "run/checkpoints", step), checkpoint_path(checkpoints, step));
    const auto newest = checkpoint_path(folder / "run/checkpoints", killed_at);
    auto checkpoint = decode_checkpoint(read_bytes(newest), newest.string());
    checkpoint.cursor.step += steps_on;
    write_durably(checkpoint_path(checkpoints, killed_at), encode_checkpoint(checkpoint));
    expect_success(command(1, run));
    const bool once = every_sample_once(run);
    EXPECT_EQ(once, steps_on == 0) << what;
    caught += steps_on != 0 && !once;
  }
  report_mutants("R2", "a place in the epoch that is off by a step, in the real program", caught, 2);
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
