// Faults at the calls by which a process changes files: open, write, pwrite, writev, fsync, fdatasync, close, rename,
// unlink, ftruncate and link, with their variants; and at stat, where it is asked for by name.
//
// The definitions of injector.cpp take the place of the C library's, either linked into a test (then `arm` and `disarm`
// control them) or loaded in front of the real program with LD_PRELOAD (then the environment does):
//   SPANKEY_FAULT_PREFIX  absolute; only files under it count and fail
//   SPANKEY_FAULT_AT      number of the call that fails, from 1; 0 or absent: none, calls are only counted
//   SPANKEY_FAULT_ACTION  kill, torn, enospc, eio, eio-forever or stall
//   SPANKEY_FAULT_SECONDS of a stall
//   SPANKEY_FAULT_CALLS   comma-separated; absent: all but stat
//   SPANKEY_FAULT_RANK    only in the process with this OMPI_COMM_WORLD_RANK; absent: in all
//   SPANKEY_FAULT_LOG     file that gets one line a counted call: number, call, path
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>

namespace spankey::faults {

enum class Call : unsigned { open, write, fsync, close, rename, unlink, ftruncate, link, stat };

enum class Action {
  none,
  kill,           // SIGKILL in place of the call
  torn,           // a write does half of its work, any other call all of it, then SIGKILL
  no_space,       // this and all later calls that take space fail with ENOSPC; this write does half of its work first
  io_error_once,  // EIO
  io_error_for_ever,  // EIO, and so do all calls after it
  stall,              // the call takes seconds, and succeeds
};
// A failing fsync or close of a file that was written to loses the second half of the file, as a kernel that cannot
// write back does.

constexpr unsigned only(Call call) {
  return 1U << static_cast<unsigned>(call);
}
constexpr unsigned all_calls = only(Call::stat) - 1;

struct Plan {
  std::string prefix;
  std::int64_t at = 0;
  Action action = Action::none;
  unsigned calls = all_calls;
  int stall_seconds = 0;
};

// From now on calls under the prefix are counted, in all threads.
void arm(const Plan& plan);
// Returns how many there were.
std::int64_t disarm();

// A call that has succeeded.
struct Event {
  Call call;
  std::string path;      // rename: the old one
  std::string new_path;  // rename
  std::uint64_t inode = 0;
  bool folder = false;   // fsync of a folder
  bool created = false;  // open
  std::int64_t offset = 0;
  std::span<const std::byte> bytes;  // write
};

// Called after each successful call under the prefix while armed; empty: nobody. One thread at a time.
void observe(std::function<void(const Event&)> observer);

}  // namespace spankey::faults
