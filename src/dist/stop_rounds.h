// Long work of many pieces that all ranks leave together once one of them has been asked to stop.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>

#include "base/shutdown.h"
#include "dist/communicator.h"
#include "dist/on_all_ranks.h"

namespace spankey {

// Thrown on every rank at the same point. The code is 128 + the number of the signal, as a shell tells of a program
// that a signal has ended.
class Interrupted : public AgreedError {
 public:
  using AgreedError::AgreedError;
};

class StopRounds {
 public:
  // The signal by which this rank wants to stop; 0: it does not. Asked now and then.
  using Wish = std::function<int()>;

  // Keeps the reference.
  explicit StopRounds(Communicator& communicator, Wish wish = shutdown::signal_number);

  // Collective: after each piece of work, equally often on every rank, also on those that have no piece left. The ranks
  // ask one another several times a second, or after each piece where that takes longer. Throws Interrupted.
  void next();
  // Collective: asks in any case. Before what the ranks have found is put together.
  void settle();

  int wish() const { return wish_(); }

 private:
  using Clock = std::chrono::steady_clock;

  Communicator& communicator_;
  Wish wish_;
  std::int64_t rounds_ = 0;     // since the ranks last asked one another
  std::int64_t ask_after_ = 1;  // rounds: the same on every rank
  Clock::time_point asked_ = Clock::now();
};

}  // namespace spankey
