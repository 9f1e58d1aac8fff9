// Keeps secrets out of core dumps, and wipes them from memory.
#pragma once

#include <cstddef>
#include <span>

namespace spankey {

// Keeps the memory of this process and its children out of core dumps. RLIMIT_CORE 0 prevents core files, and
// /proc/self/coredump_filter 0 keeps the memory from a handler to which the kernel pipes dumps whatever the limit.
// PR_SET_DUMPABLE is not used, because it would also forbid the reads between ranks on one node (process_vm_readv)
// through which MPI sends. SPANKEY_ALLOW_CORE_DUMPS=1 leaves everything as it was. Returns whether both took effect.
bool forbid_core_dumps();

// libsodium asks to be started before any other call. The programs call this first. It may be called again, and by
// several threads. Error(run_failed) where the system has no source of randomness.
void start_cryptography();

// Overwrites the bytes with zeros in a way that the compiler cannot leave out.
void wipe(std::span<std::byte> secret);

// Overwrites 64 KiB of the stack below the caller, where functions that have returned left their variables.
void wipe_stack();

// Wipes the bytes at the end of the scope, also when an exception ends it. The bytes must not move meanwhile.
class WipedAtEnd {
 public:
  explicit WipedAtEnd(std::span<std::byte> secret) : secret_(secret) {}
  ~WipedAtEnd() { wipe(secret_); }
  WipedAtEnd(const WipedAtEnd&) = delete;
  WipedAtEnd& operator=(const WipedAtEnd&) = delete;

 private:
  std::span<std::byte> secret_;
};

}  // namespace spankey
