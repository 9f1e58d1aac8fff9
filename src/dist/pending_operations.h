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
class PendingOperations {
 public:
  using Clock = std::chrono::steady_clock;

  explicit PendingOperations(double deadline_seconds) : deadline_(deadline_seconds) {}

  void add(PendingOperation operation, Clock::time_point now);
  // Forgets those that are done. Returns the oldest of the others where the deadline has passed.
  std::optional<PendingOperation> overdue(Clock::time_point now);
  std::size_t size() const { return operations_.size(); }

 private:
  std::chrono::duration<double> deadline_;
  std::deque<PendingOperation> operations_;
  Clock::time_point progress_{};  // when the oldest became the oldest
};

}  // namespace spankey
