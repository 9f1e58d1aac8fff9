#include "dist/pending_operations.h"

#include <utility>

namespace spankey {

void PendingOperations::add(PendingOperation operation, Clock::time_point now) {
  if (operations_.empty()) progress_ = now;
  operations_.push_back(std::move(operation));
}

std::optional<PendingOperation> PendingOperations::overdue(Clock::time_point now) {
  while (!operations_.empty() && operations_.front().is_done()) {
    operations_.pop_front();
    progress_ = now;
  }
  if (operations_.empty() || now - progress_ <= deadline_) return std::nullopt;
  return operations_.front();
}

}  // namespace spankey
