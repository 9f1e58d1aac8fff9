#include "base/secret.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace spankey::secret_test {
namespace {

// What the kernel says of a child that starts with core dumps allowed as far as they can be.
bool child_may_dump(const char* allow) {
  const pid_t child = fork();
  if (child == 0) {
    rlimit limit{};
    getrlimit(RLIMIT_CORE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_CORE, &limit);
    std::ofstream("/proc/self/coredump_filter") << "0x33" << std::flush;
    setenv("SPANKEY_ALLOW_CORE_DUMPS", allow, 1);
    const bool done = forbid_core_dumps();
    std::string filter;
    std::ifstream("/proc/self/coredump_filter") >> filter;
    getrlimit(RLIMIT_CORE, &limit);
    const bool memory_left_out = filter.find_first_not_of('0') == std::string::npos;
    _exit(done && memory_left_out && limit.rlim_cur == 0 && limit.rlim_max == 0 ? 0 : 1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return status != 0;
}

TEST(Secret, CoreDumpsHoldNoMemoryUnlessAllowed) {
  EXPECT_FALSE(child_may_dump(""));
  EXPECT_FALSE(child_may_dump("0"));
  EXPECT_TRUE(child_may_dump("1"));
}

TEST(Secret, IsWipedAtTheEndAlsoOfAnException) {
  std::vector<std::byte> secret(1000, std::byte{7});
  EXPECT_THROW(
      {
        const WipedAtEnd wiped(secret);
        EXPECT_EQ(std::count(secret.begin(), secret.end(), std::byte{7}), 1000);
        throw std::runtime_error("stop");
      },
      std::runtime_error);
  EXPECT_EQ(std::count(secret.begin(), secret.end(), std::byte{0}), 1000);
}

constexpr std::size_t secrets = 2000;

[[gnu::noinline]] void work_with_secrets() {
  [[maybe_unused]] volatile std::uint64_t values[secrets];
  for (std::size_t i = 0; i < secrets; ++i) values[i] = 0x9e3779b97f4a7c15;
}

// How many of them lie in the 32 KiB below.
[[gnu::noinline]] std::ptrdiff_t secrets_on_stack() {
  std::vector<std::uint64_t> below(4096);
  const auto end = reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0));
  std::ifstream memory("/proc/self/mem", std::ios::binary);
  memory.seekg(static_cast<std::streamoff>(end / 8 * 8 - below.size() * 8));
  memory.read(reinterpret_cast<char*>(below.data()), static_cast<std::streamsize>(below.size() * 8));
  EXPECT_TRUE(memory);
  return std::count(below.begin(), below.end(), 0x9e3779b97f4a7c15);
}

TEST(Secret, TheStackIsWiped) {
  work_with_secrets();
  EXPECT_GT(secrets_on_stack(), 100);  // the control
  work_with_secrets();
  wipe_stack();
  EXPECT_EQ(secrets_on_stack(), 0);
}

}  // namespace
}  // namespace spankey::secret_test
