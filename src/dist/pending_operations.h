// Operations on which a device works after their call has returned. This tracks which one is the oldest, and since
// when.
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

// The operations of one stream, which end in the order in which they were added. The host may be many of them ahead of
// the device. An operation is therefore late when the stream has made no progress for the deadline, not when it was
// requested long ago. Not synchronised.
//
// The deadline is long on purpose. The step's deadline finds a late rank, because it knows how long steps take and
// pauses while rank 0 is outside of a step (it saves while the others already wait for it in the next one). The
// heartbeat finds a lost rank. This deadline is for a device that hangs where neither of them looks.
class PendingOperations {
 public:
  using Clock = std::chrono::steady_clock;

  // Deadline in multiples of timeout_seconds, the same as that of a wait in the watchdog (Waiting::patience).
  static constexpr double patience = 60;

  explicit PendingOperations(double timeout_seconds) : deadline_(patience * timeout_seconds) {}

  void add(PendingOperation operation, Clock::time_point now);
  // Removes finished operations. Returns the oldest unfinished one if the deadline has passed.
  std::optional<PendingOperation> overdue(Clock::time_point now);
  std::size_t size() const { return operations_.size(); }
  double deadline_seconds() const { return deadline_.count(); }

 private:
  std::chrono::duration<double> deadline_;
  std::deque<PendingOperation> operations_;
  Clock::time_point progress_{};  // when the oldest became the oldest
};

}  // namespace spankey
