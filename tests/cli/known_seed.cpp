// Loaded in front of the program: its private seed becomes one that the test knows (known_seed.h), and it stops once
// the basis is made, as its file gets its name. With SPANKEY_KEEP_SEED, a copy of the seed stays in memory, which the
// test must then find.
#include "cli/known_seed.h"

#include <dlfcn.h>
#include <sys/random.h>

#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

// Only the seed has so many bytes. libsodium itself draws others when it is started, and keeps them.
extern "C" void randombytes_buf(void* out, std::size_t size) {
  auto* bytes = static_cast<unsigned char*>(out);
  if (size != sizeof(std::uint64_t)) {
    if (getrandom(out, size, 0) != static_cast<ssize_t>(size)) std::abort();
    return;
  }
  for (std::size_t i = 0; i < size; ++i) bytes[i] = spankey::test::known_seed_byte(i);
  if (std::getenv("SPANKEY_KEEP_SEED") == nullptr) return;
  auto* copy = static_cast<unsigned char*>(std::malloc(size));  // for ever
  for (std::size_t i = 0; i < size; ++i) static_cast<volatile unsigned char*>(copy)[i] = bytes[i];
}

extern "C" int rename(const char* from, const char* to) noexcept {
  using Rename = int (*)(const char*, const char*);
  static const auto original = reinterpret_cast<Rename>(dlsym(RTLD_NEXT, "rename"));
  if (std::string_view(to).ends_with("basis.h5")) raise(SIGSTOP);
  return original(from, to);
}
