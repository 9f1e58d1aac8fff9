// One writer per run directory: attempts that race for it, as after a requeue, and leases that lack a protection.
#include "train/lease.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <functional>

#include "base/error.h"
#include "base/file.h"
#include "faults/budget.h"
#include "support/temporary_folder.h"

namespace spankey::test::lease_test {
namespace {

constexpr int racers = 4;
constexpr const char* of_a_dead_run = R"({"attempt":7,"host":"elsewhere","boot_id":"x","pid":1,"start_time":"1"})";

// Takes the folder and calls `hold`, which returns once all have taken it or have been refused; true where it still has
// it then.
using Attempt = std::function<bool(const std::filesystem::path& folder, const std::function<void()>& hold)>;

bool with_our_lease(const std::filesystem::path& folder, const std::function<void()>& hold) {
  try {
    const Lease lease(folder, std::chrono::milliseconds(0));
    hold();
    return lease.still_ours();
  } catch (const Error&) {
    return false;
  }
}

// Looks first and writes then: two may see the same dead owner.
bool looked_before_written(const std::filesystem::path& folder, const std::function<void()>& hold) {
  if (read_text(folder / "lease") != of_a_dead_run) return false;
  usleep(1000);  // whatever a file system takes
  std::ofstream(folder / "lease") << "mine";
  hold();
  return read_text(folder / "lease") == "mine";
}

// Processes that want a dead run's folder at the same moment; the number of those that got it.
int winners(const Attempt& attempt) {
  const TemporaryFolder folder;
  std::ofstream(folder / "lease") << of_a_dead_run;
  timespec long_ago[2] = {};  // 1970
  utimensat(AT_FDCWD, (folder / "lease").c_str(), long_ago, 0);
  int start[2], held[2], release[2];
  if (pipe(start) != 0 || pipe(held) != 0 || pipe(release) != 0) return -1;
  std::vector<pid_t> children;
  for (int i = 0; i < racers; ++i) {
    children.push_back(fork());
    if (children.back() != 0) continue;
    close(start[1]);
    close(release[1]);
    char none = 0;
    if (freopen("/dev/null", "w", stderr) == nullptr) _exit(99);
    if (read(start[0], &none, 1) != 0) _exit(99);  // until the parent closes it
    bool told = false;
    const auto tell_and_wait = [&] {
      told = write(held[1], "1", 1) == 1;
      if (read(release[0], &none, 1) != 0) _exit(99);
    };
    const bool got = attempt(folder.path(), tell_and_wait);
    if (!told && write(held[1], "0", 1) != 1) _exit(99);
    _exit(got ? 1 : 0);
  }
  close(start[1]);
  close(held[1]);
  for (int i = 0; i < racers; ++i) {  // all hold it or have been refused
    char answer = 0;
    if (read(held[0], &answer, 1) != 1) return -1;
  }
  close(release[1]);
  int count = 0;
  for (const pid_t child : children) {
    int status = 0;
    waitpid(child, &status, 0);
    count += WIFEXITED(status) && WEXITSTATUS(status) == 1;
  }
  for (const int end : {start[0], held[0], release[0]}) close(end);
  return count;
}

TEST(Leases, OfAttemptsThatRaceOneAtMostWins) {
  std::int64_t rounds = 0, won = 0, two = 0;
  for (const Budget budget(100, 2000); budget.more(rounds); ++rounds) {
    const int count = winners(with_our_lease);
    won += count == 1;
    two += count > 1;
  }
  report("R14", "races of 4 attempts for one run directory", rounds, 2000);
  report("R14", "races with more than one writer", two);
  EXPECT_EQ(won, rounds);
  EXPECT_EQ(two, 0);
}

// A successor on the same machine differs in its number at least: with the pid of a container it may differ in nothing
// else.
TEST(Leases, MutantsAreCaught) {
  bool together = false;
  for (int round = 0; round < 50 && !together; ++round) together = winners(looked_before_written) > 1;
  EXPECT_TRUE(together);

  const TemporaryFolder folder;
  const Lease lease(folder.path());
  const auto before = nlohmann::json::parse(read_text(folder / "lease"));
  auto successor = before;
  successor["attempt"] = lease.attempt() + 1;
  std::ofstream(folder / "lease") << successor.dump() << "\n";
  EXPECT_FALSE(lease.still_ours());
  const auto without_number = [](nlohmann::json owner) {
    owner.erase("attempt");
    return owner;
  };
  const bool blind = without_number(nlohmann::json::parse(read_text(folder / "lease"))) == without_number(before);
  EXPECT_TRUE(blind);
  report_mutants("R14", "leases that are looked at first, that have no attempt number", together + blind, 2);
}

}  // namespace
}  // namespace spankey::test::lease_test
