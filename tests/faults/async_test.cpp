// Saving while training goes on: what is written is the state at the moment of the call.
#include <ATen/Functions.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <functional>
#include <future>
#include <random>
#include <thread>

#include "base/error.h"
#include "base/file.h"
#include "faults/budget.h"
#include "faults/injector.h"
#include "faults/savers.h"
#include "record/run_directory.h"
#include "support/temporary_folder.h"
#include "train/checkpoint_writer.h"

namespace spankey::test::async_test {
namespace {

using std::chrono::milliseconds;

using Snapshot = std::function<Checkpoint(Checkpoint live)>;

// Saves on a helper thread that is held up until the live tensors have been changed.
std::int64_t step_in_file(const Snapshot& take) {
  const TemporaryFolder folder;
  std::promise<void> changed;
  const auto gate = changed.get_future().share();
  auto live = checkpoint_of_step(4);
  CheckpointWriter writer(folder.path(), 1, /*async=*/true, [gate] { gate.wait(); });
  writer.save(take(live));
  for (auto* tensors : {&live.parameters, &live.buffers, &live.optimizer})
    for (auto& tensor : *tensors) tensor.value.fill_(-1);
  changed.set_value();
  writer.finish();
  return loadable_step(folder.path());
}

// The mutants: snapshots of which one part is still the live one.
TEST(Async, TheFileHoldsTheStateAtTheCall) {
  const bool held = step_in_file(snapshot) == 4;
  EXPECT_TRUE(held);
  report("R13", "saves compared with the state at the call", held, 1);
  int caught = 0;
  for (const auto part : {&Checkpoint::parameters, &Checkpoint::buffers, &Checkpoint::optimizer}) {
    const bool seen = step_in_file([part](const Checkpoint& live) {
                        auto taken = snapshot(live);
                        for (std::size_t i = 0; i < (taken.*part).size(); ++i)
                          (taken.*part)[i].value = (live.*part)[i].value.to(at::kCPU);  // the same memory
                        return taken;
                      }) != 4;
    EXPECT_TRUE(seen);
    caught += seen;
  }
  report_mutants("R13", "snapshots that share the memory of a part of the state", caught, 3);
}

TEST(Async, OverlappingSavesAreSerialised) {
  const TemporaryFolder folder;
  std::promise<void> opened;
  const auto gate = opened.get_future().share();
  CheckpointWriter writer(folder.path(), 10, /*async=*/true, [gate] { gate.wait(); });
  std::vector<std::string> committed;
  faults::observe([&](const faults::Event& event) {
    if (event.call == faults::Call::rename) committed.push_back(event.new_path);
  });
  faults::arm({.prefix = folder.path().string()});
  writer.save(checkpoint_of_step(1));  // returns although nothing is written yet
  EXPECT_TRUE(list_checkpoints(folder.path()).empty());
  auto rest = std::async(std::launch::async, [&] {
    for (int step = 2; step <= 5; ++step) writer.save(checkpoint_of_step(step));
    writer.finish();
  });
  EXPECT_EQ(rest.wait_for(milliseconds(50)), std::future_status::timeout);  // the second waits for the first
  opened.set_value();
  rest.get();
  faults::disarm();
  faults::observe({});
  std::vector<std::string> expected;
  for (int step = 1; step <= 5; ++step) expected.push_back(checkpoint_path(folder.path(), step).string());
  EXPECT_EQ(committed, expected);
}

// Pruning waits for the new file: while the writer is held up the old one stays.
TEST(Async, NothingIsPrunedWhileASaveIsHeldUp) {
  const TemporaryFolder folder;
  write_durably(checkpoint_path(folder.path(), 3), encode_checkpoint(checkpoint_of_step(3)));
  std::promise<void> opened;
  const auto gate = opened.get_future().share();
  CheckpointWriter writer(folder.path(), 1, /*async=*/true, [gate] { gate.wait(); });
  writer.save(checkpoint_of_step(4));
  std::this_thread::sleep_for(milliseconds(20));
  EXPECT_EQ(loadable_step(folder.path()), 3);
  opened.set_value();
  writer.finish();
  EXPECT_EQ(loadable_step(folder.path()), 4);
  EXPECT_EQ(list_checkpoints(folder.path()).size(), 1U);
}

TEST(Async, AKillInFlightLeavesThePreviousOrTheNewOne) {
  const TemporaryFolder folder;
  std::mt19937 random(3);
  std::int64_t kills = 0, previous = 0;
  for (const Budget budget(60, 2000); budget.more(kills); ++kills) {
    for (const auto& entry : std::filesystem::directory_iterator(folder.path())) std::filesystem::remove(entry.path());
    write_durably(checkpoint_path(folder.path(), 3), encode_checkpoint(checkpoint_of_step(3)));
    const auto delay = std::chrono::microseconds(random() % 3000);
    const pid_t child = fork();
    if (child == 0) {
      CheckpointWriter writer(folder.path(), 1, /*async=*/true);
      writer.save(checkpoint_of_step(4));
      std::this_thread::sleep_for(delay);
      kill(getpid(), SIGKILL);
    }
    int status = 0;
    waitpid(child, &status, 0);
    ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    const auto step = loadable_step(folder.path());
    EXPECT_GE(step, 3);
    previous += step == 3;
  }
  std::printf("kills in flight: %lld, of them %lld before the commit\n", static_cast<long long>(kills),
              static_cast<long long>(previous));
  report("R13", "kills during asynchronous saves", kills, 60);
  EXPECT_GT(kills, 0);
}

// A superseded attempt writes nothing: asked before it begins, and again when the file is about to get its name.
TEST(Async, ASupersededAttemptCommitsNothing) {
  for (const int asked_before : {0, 1}) {
    const TemporaryFolder folder;
    write_durably(checkpoint_path(folder.path(), 3), encode_checkpoint(checkpoint_of_step(3)));
    std::atomic<int> asked = 0;
    CheckpointWriter writer(folder.path(), 1, /*async=*/true, [&] {
      if (asked++ >= asked_before) fail_run("superseded");
    });
    writer.save(checkpoint_of_step(4));
    EXPECT_THROW(writer.finish(), Error);
    EXPECT_EQ(loadable_step(folder.path()), 3);
    EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 1);
  }
}

TEST(Async, RoomForTwoIsAskedFor) {
  const auto tensors = checkpoint_of_step(1).parameters;
  EXPECT_NO_THROW(require_room("/tmp", {tensors}));
  const auto huge = at::empty({1}, at::kFloat).expand({std::int64_t{1} << 50});
  try {
    require_room("/tmp", {{{"huge", huge}}});
    ADD_FAILURE() << "room for petabytes";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::run_failed);
    EXPECT_NE(std::string(error.what()).find("bytes are free"), std::string::npos);
  }
}

}  // namespace
}  // namespace spankey::test::async_test
