// One writer per run directory: attempts that race for it, as after a requeue, and leases that lack a protection.
#include "base/lease.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <functional>
#include <iterator>
#include <optional>
#include <string>

#include "base/error.h"
#include "base/file.h"
#include "faults/budget.h"
#include "support/temporary_folder.h"

namespace spankey::test::lease_test {
namespace {

constexpr int racers = 4;
constexpr const char* of_a_dead_run = R"({"attempt":7,"host":"elsewhere","boot_id":"x","pid":1,"start_time":"1"})";
constexpr std::chrono::milliseconds silence{20};

// Asks for the folder, calls `hold` where it goes on (which returns once all go on or have given up), and then writes
// into the folder where it thinks that it may.
using Attempt = std::function<void(const std::filesystem::path& folder, const std::function<void()>& hold)>;

constexpr const char* written = "metrics.jsonl";

void write_line(const std::filesystem::path& folder) {
  std::ofstream(folder / written, std::ios::app) << getpid() << "\n";
}

void with_our_lease(const std::filesystem::path& folder, const std::function<void()>& hold) {
  try {
    const Lease lease(folder, std::chrono::milliseconds(0), silence);
    hold();
    lease.require();
    write_line(folder);
  } catch (const Error&) {  // refused, or superseded
  }
}

// Looks first and takes then: two may see the same dead owner.
void looked_before_taken(const std::filesystem::path& folder, const std::function<void()>& hold) {
  if (read_text(folder / "lease") != of_a_dead_run) return;
  usleep(1000);  // whatever a file system takes
  std::ofstream(folder / "lease") << getpid();
  hold();
  write_line(folder);
}

// Goes on although it was refused.
void blind(const std::filesystem::path& folder, const std::function<void()>& hold) {
  std::optional<Lease> lease;
  try {
    lease.emplace(folder, std::chrono::milliseconds(0), silence);
  } catch (const Error&) {
  }
  hold();
  write_line(folder);
}

[[noreturn]] void race(const Attempt& attempt, const std::filesystem::path& folder, int start, int held, int release) {
  char none = 0;
  if (freopen("/dev/null", "w", stderr) == nullptr) _exit(99);
  if (read(start, &none, 1) != 0) _exit(99);  // until the parent closes it
  bool told = false;
  const auto tell_and_wait = [&] {
    told = write(held, "1", 1) == 1;
    if (read(release, &none, 1) != 0) _exit(99);
  };
  attempt(folder, tell_and_wait);
  if (!told && write(held, "0", 1) != 1) _exit(99);
  _exit(0);
}

// Processes that want a dead run's folder at the same moment; the number of those that have written into it, each a
// line. -1: the race itself failed.
int writers(const Attempt& attempt) {
  const TemporaryFolder folder;
  std::ofstream(folder / "lease") << of_a_dead_run;
  int start[2], held[2], release[2];
  if (pipe(start) != 0 || pipe(held) != 0 || pipe(release) != 0) return -1;
  std::vector<pid_t> children;
  for (int i = 0; i < racers; ++i) {
    children.push_back(fork());
    if (children.back() != 0) continue;
    close(start[1]);
    close(release[1]);
    race(attempt, folder.path(), start[0], held[1], release[0]);
  }
  close(start[1]);
  close(held[1]);
  bool in_order = true;
  for (int i = 0; i < racers; ++i) {  // all go on or have given up
    char answer = 0;
    in_order = in_order && read(held[0], &answer, 1) == 1;
  }
  close(release[1]);
  for (const pid_t child : children) {
    int status = 0;
    waitpid(child, &status, 0);
    in_order = in_order && WIFEXITED(status) && WEXITSTATUS(status) == 0;
  }
  for (const int end : {start[0], held[0], release[0]}) close(end);
  std::ifstream lines(folder / written);
  const auto count = std::count(std::istreambuf_iterator<char>(lines), {}, '\n');
  return in_order ? static_cast<int>(count) : -1;
}

TEST(Leases, OfAttemptsThatRaceOneWrites) {
  std::int64_t rounds = 0, one = 0, more = 0;
  for (const Budget budget(100, 2000); budget.more(rounds); ++rounds) {
    const int count = writers(with_our_lease);
    one += count == 1;
    more += count > 1;
  }
  report("R14", "races of 4 attempts for one run directory", rounds, 2000);
  report("R14", "races with more than one writer", more);
  EXPECT_EQ(one, rounds);
  EXPECT_EQ(more, 0);
}

TEST(Leases, MutantsAreCaught) {
  bool together = false;
  for (int round = 0; round < 50 && !together; ++round) together = writers(looked_before_taken) > 1;
  EXPECT_TRUE(together);
  const bool seen = writers(blind) > 1;
  EXPECT_TRUE(seen);
  report_mutants("R14", "an attempt that looks before it takes, one that heeds no refusal", together + seen, 2);
}

// A successor on the same machine differs in its number at least: with the pid of a container it may differ in nothing
// else. The superseded attempt leaves the lease where it is.
TEST(Leases, ASuccessorIsToldApartByItsNumber) {
  const TemporaryFolder folder;
  std::string content;
  {
    const Lease lease(folder.path());
    auto successor = nlohmann::json::parse(read_text(folder / "lease"));
    successor["attempt"] = lease.attempt() + 1;
    content = successor.dump() + "\n";
    std::ofstream(folder / "lease") << content;
    EXPECT_FALSE(lease.still_ours());
    EXPECT_THROW(lease.require(), Error);
  }
  EXPECT_EQ(read_text(folder / "lease"), content);
}

}  // namespace
}  // namespace spankey::test::lease_test
