// Operations that a device works on after their call has returned: which is the oldest, and since when.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <optional>

namespace spankey {

struct PendingOperation {
  const char* name = "";  // "all_reduce"
  std::int64_t bytes = 0;
  std::function<bool()> is_done;  // must not wait
};

// Operations of one stream, which end in the order in which they were added. The host may be many of them ahead of the
// device: an operation is late when the stream has not got on for the deadline, not when it was asked for long ago.
// Not synchronised.
//
// The deadline is a long one. A late rank is the business of the step's deadline, which knows how long steps take and
// stands still while rank 0 is outside of a step (it saves, the others already wait for it in the next); a lost one is
// that of the heartbeat. This one is for a device that hangs where neither looks.
class PendingOperations {
 public:
  using Clock = std::chrono::steady_clock;

  // In timeouts: what the watchdog grants to a wait (Waiting::patience).
  static constexpr double patience = 60;

  explicit PendingOperations(double timeout_seconds) : deadline_(patience * timeout_seconds) {}

  void add(PendingOperation operation, Clock::time_point now);
  // Forgets those that are done. Returns the oldest of the others where the deadline has passed.
  std::optional<PendingOperation> overdue(Clock::time_point now);
  std::size_t size() const { return operations_.size(); }
  double deadline_seconds() const { return deadline_.count(); }

 private:
  std::chrono::duration<double> deadline_;
  std::deque<PendingOperation> operations_;
  Clock::time_point progress_{};  // when the oldest became the oldest
};

}  // namespace spankey
