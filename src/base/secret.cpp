#include "base/secret.h"

#include <sodium.h>
#include <sys/resource.h>

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string_view>

#include "base/error.h"

namespace spankey {

bool forbid_core_dumps() {
  const char* allowed = std::getenv("SPANKEY_ALLOW_CORE_DUMPS");
  if (allowed != nullptr && std::string_view(allowed) == "1") return false;
  const rlimit none{0, 0};
  const bool no_file = setrlimit(RLIMIT_CORE, &none) == 0;
  std::ofstream filter("/proc/self/coredump_filter");
  return bool(filter << "0" << std::flush) && no_file;
}

void start_cryptography() {
  if (sodium_init() < 0) fail_run("libsodium cannot be started: the system gives no random numbers");
}

void wipe(std::span<std::byte> secret) {
  if (!secret.empty()) explicit_bzero(secret.data(), secret.size());
}

[[gnu::noinline]] void wipe_stack() {
  std::byte below[std::size_t{64} << 10];
  explicit_bzero(below, sizeof below);
}

}  // namespace spankey
