// The seed of a private basis, from which anybody could make the basis again, is nowhere in the memory of a run that
// has made it.
#include <csignal>
#include <cstdint>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "known_seed.h"
#include "small_run.h"

namespace spankey::test::secret_seed_test {
namespace {

class SecretSeed : public SmallRun {
 protected:
  // Copies of the seed in the writable memory of the process.
  static int copies_in_memory(int pid) {
    std::string seed;
    for (std::size_t i = 0; i < sizeof(std::uint64_t); ++i) seed += static_cast<char>(known_seed_byte(i));
    const auto process = "/proc/" + std::to_string(pid);
    std::ifstream maps(process + "/maps"), memory(process + "/mem", std::ios::binary);
    std::int64_t looked_at = 0;
    int found = 0;
    for (std::string line; std::getline(maps, line);) {
      std::istringstream fields(line);
      std::uintptr_t begin = 0, end = 0;
      char dash = 0;
      std::string access;
      fields >> std::hex >> begin >> dash >> end >> access;
      if (!access.starts_with("rw")) continue;
      std::string bytes(end - begin, '\0');
      memory.clear();
      memory.seekg(static_cast<std::streamoff>(begin));
      memory.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
      bytes.resize(static_cast<std::size_t>(memory.gcount()));
      looked_at += std::ssize(bytes);
      for (auto at = bytes.find(seed); at != std::string::npos; at = bytes.find(seed, at + 1)) ++found;
    }
    EXPECT_GT(looked_at, 10'000'000);
    return found;
  }

  static bool stopped(int pid) { return state_of("/proc/" + std::to_string(pid)) == 'T'; }

  // Counts the copies in a run that has just made its private basis.
  int copies_in_run(const std::string& run, const std::vector<std::string>& before) {
    std::vector<std::string> command{"env", "LD_PRELOAD=" SPANKEY_KNOWN_SEED_LIBRARY,
                                     "ASAN_OPTIONS=verify_asan_link_order=0"};
    command.insert(command.end(), before.begin(), before.end());
    const auto words = train(1, run, {"key.private=true"});
    command.insert(command.end(), words.begin(), words.end());
    Child child(command, folder.path());
    while (child.running() && !stopped(child.pid())) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    const int found = copies_in_memory(child.pid());
    child.kill_tree();
    return found;
  }
};

TEST_F(SecretSeed, IsNowhereInMemoryOnceTheBasisIsMade) {
  EXPECT_EQ(copies_in_run("run", {}), 0);
}

// The control: a copy that was kept is found.
TEST_F(SecretSeed, AKeptCopyIsFound) {
  EXPECT_GT(copies_in_run("kept", {"SPANKEY_KEEP_SEED=1"}), 0);
}

}  // namespace
}  // namespace spankey::test::secret_seed_test
