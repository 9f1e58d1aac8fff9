#pragma once

#include <cstddef>
#include <span>

namespace spankey {

// Keeps the memory of this process and its children out of core dumps: no core file (RLIMIT_CORE 0), and nothing of
// the memory for a handler that the kernel pipes dumps to whatever the limit (/proc/self/coredump_filter 0).
// PR_SET_DUMPABLE would also forbid the reads between ranks on one node (process_vm_readv) that MPI sends through.
// SPANKEY_ALLOW_CORE_DUMPS=1 leaves everything as it was. Returns whether both took effect.
bool forbid_core_dumps();

// Overwrites with zeros; the compiler cannot leave it out.
void wipe(std::span<std::byte> secret);

// Overwrites 64 KiB of the stack below the caller: what functions that have returned have left there.
void wipe_stack();

// Wipes the bytes at the end of the scope, also when an exception ends it. They must not move meanwhile.
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
