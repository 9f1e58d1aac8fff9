// Lets all ranks leave long work of many pieces together, once one of them has been asked to stop.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>

#include "base/shutdown.h"
#include "dist/communicator.h"
#include "dist/on_all_ranks.h"

namespace spankey {

// Thrown on every rank at the same point. The code is 128 + the number of the signal, as a shell reports a program that
// a signal has ended.
class Interrupted : public AgreedError {
 public:
  using AgreedError::AgreedError;
};

class StopRounds {
 public:
  // Returns the signal by which this rank wants to stop, or 0. It may be called at any time.
  using Wish = std::function<int()>;

  // Keeps a reference to `communicator`.
  explicit StopRounds(Communicator& communicator, Wish wish = shutdown::signal_number);

  // Collective. Every rank calls it equally often, after each piece of work, also where it has no piece left. The ranks
  // ask one another several times a second, or after each piece where that takes longer. Throws Interrupted.
  void next();
  // Collective. Asks the other ranks, however recently they asked. Call it before the ranks combine what they have
  // found.
  void settle();

  int wish() const { return wish_(); }

 private:
  using Clock = std::chrono::steady_clock;

  Communicator& communicator_;
  Wish wish_;
  std::int64_t rounds_ = 0;     // since the ranks last asked one another
  std::int64_t ask_after_ = 1;  // in rounds, the same on every rank
  Clock::time_point asked_ = Clock::now();
};

}  // namespace spankey
