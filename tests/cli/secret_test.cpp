// What others can learn of a private basis from the real program: nothing from core dumps, command lines, logs or files
// that are not theirs to read.
#include <gmock/gmock.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <csignal>
#include <thread>

#include "small_run.h"

namespace spankey::test::secret_test {
namespace {

struct DumpState {
  std::string limit;   // "Max core file size" of /proc/PID/limits: soft and hard
  std::string filter;  // /proc/PID/coredump_filter
};

DumpState dump_state(int pid) {
  DumpState state;
  const auto process = "/proc/" + std::to_string(pid);
  std::ifstream limits(process + "/limits");
  for (std::string line; std::getline(limits, line);)
    if (line.starts_with("Max core file size")) state.limit = line;
  std::ifstream(process + "/coredump_filter") >> state.filter;
  return state;
}

class Secret : public SmallRun {
 protected:
  void SetUp() override {
    SmallRun::SetUp();
    const rlimit all{RLIM_INFINITY, RLIM_INFINITY};
    if (setrlimit(RLIMIT_CORE, &all) != 0) GTEST_SKIP() << "core dumps are forbidden here already";
    std::ofstream("/proc/self/coredump_filter") << "0x33" << std::flush;
  }

  // Starts a run, waits for its basis, looks at it and ends it with SIGSEGV, as a mistake of ours would.
  std::pair<DumpState, Outcome> crash(const std::string& run, std::vector<std::string> before = {}) {
    const auto command = train(1, run, {"train.epochs=2000", "key.private=true"});
    before.insert(before.end(), command.begin(), command.end());
    Child child(before, folder.path());
    const auto first = folder / (run + "/secret/basis.h5");
    while (child.running() && !std::filesystem::exists(first))
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    const auto state = dump_state(child.pid());
    child.signal(SIGSEGV);
    return {state, child.wait()};
  }

  bool core_left() const {
    for (const auto& entry : std::filesystem::directory_iterator(folder.path()))
      if (entry.path().filename().string().starts_with("core")) return true;
    return false;
  }
};

bool kernel_writes_core_here() {
  std::ifstream file("/proc/sys/kernel/core_pattern");
  std::string pattern;
  file >> pattern;
  return pattern.starts_with("core");
}

TEST_F(Secret, ACrashLeavesNoMemoryBehind) {
  const auto [state, outcome] = crash("run");
  EXPECT_EQ(outcome.exit_code, 128 + SIGSEGV);
  EXPECT_THAT(state.limit, testing::ContainsRegex("size +0 +0 "));
  EXPECT_EQ(state.filter.find_first_not_of('0'), std::string::npos) << state.filter;
  EXPECT_FALSE(core_left());
}

// The control: where dumps are allowed, they are there.
TEST_F(Secret, DumpsAreLeftAsTheyWereWhenAllowed) {
  const auto [state, outcome] = crash("run", {"/usr/bin/env", "SPANKEY_ALLOW_CORE_DUMPS=1"});
  EXPECT_EQ(outcome.exit_code, 128 + SIGSEGV);
  EXPECT_THAT(state.limit, testing::HasSubstr("unlimited"));
  EXPECT_NE(state.filter.find_first_not_of('0'), std::string::npos) << state.filter;
  EXPECT_TRUE(core_left() || !kernel_writes_core_here());
}

// The values of a private basis stand in its file alone, which its owner alone may read.
TEST_F(Secret, PrivateBasisStandsInItsFileAlone) {
  const auto before = umask(0);
  expect_success(train(2, "run", {"key.private=true"}));
  umask(before);
  struct stat status {};
  ASSERT_EQ(stat((folder / "run/secret/basis.h5").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777U, 0600U);
  ASSERT_EQ(stat((folder / "run/secret").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777U, 0700U);
  const auto secret = content("run/secret/basis.h5");
  // A run of values from its middle: bytes that no other file has by chance.
  const auto values = secret.substr(secret.size() / 2 / 16 * 16, 16);
  ASSERT_NE(values, std::string(16, '\0'));
  std::int64_t files = 0, holders = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder.path()))
    if (entry.is_regular_file()) {
      ++files;
      holders += read_text(entry.path()).find(values) != std::string::npos;
    }
  EXPECT_GT(files, 5);
  EXPECT_EQ(holders, 1) << "1: secret/basis.h5 itself";
}

}  // namespace
}  // namespace spankey::test::secret_test
