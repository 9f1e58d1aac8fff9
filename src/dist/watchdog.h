// Ends a process that waits in vain, so that ranks do not wait for ever for a lost or stuck peer.
#pragma once

#include <chrono>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "base/descriptor.h"
#include "dist/heartbeat.h"
#include "dist/launcher.h"

namespace spankey {

// The operation for which a thread is waiting.
struct Waiting {
  const char* operation;  // "all_reduce"
  std::int64_t bytes = 0;
  // Deadline in multiples of timeout_seconds. It is long, because the heartbeat finds a lost rank and the step's
  // deadline a late one. This deadline is for what happens outside of the steps.
  double patience = 60;
  bool collective = true;  // every rank does it, in the same order
  std::chrono::steady_clock::time_point since = std::chrono::steady_clock::now();
};

// One thread that ends the process with _exit, outside of the libraries that may hang, in one of these cases.
// - The heartbeat reports a rank that is gone, was silent for most of the timeout, or has ended the run.
// - A step takes longer than the timeout + 5 x the slowest step so far (10 timeouts in the first steps).
// - An operation has been waited for longer than its patience.
// - The launcher is gone.
// It logs the reason, the rank that is late, its last step and the operation it was in, on every rank. Time in which
// this process was suspended does not count.
class Watchdog {
 public:
  Watchdog(int world_rank, double timeout_seconds);
  // Call leave() before, or the other ranks take this rank for lost.
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  // Watches the calling thread from construction to destruction.
  class Guard {
   public:
    Guard(Watchdog& watchdog, const Waiting& waiting);
    ~Guard();
    Guard(const Guard&) = delete;
    Guard& operator=(const Guard&) = delete;

   private:
    Watchdog& watchdog_;
    std::list<Waiting>::iterator entry_;
  };

  void listen(std::unique_ptr<Heartbeat> heartbeat);

  // Tells where the run stands, which is part of the messages. No step deadline applies from here on.
  void set_place(const std::string& place);
  // Begins a step, which ends with the next call of set_place() or begin_step().
  void begin_step(const std::string& place);

  // Announces that this rank ends the run. The others end with the same code. This process has a few seconds left.
  void announce_end(int exit_code);
  void leave();

 private:
  using Clock = std::chrono::steady_clock;

  void watch();
  void sleep() const;  // until something happens, at most a nap
  bool look_around();  // returns false when this thread has nothing more to do
  std::optional<RunEnd> converse(const RankState& mine);
  void check_deadlines(Clock::time_point now);
  void complain(const std::string& sentence);
  void extend_deadlines(Clock::duration gap);
  void end_step(Clock::time_point now);
  double step_limit_seconds() const;
  RankState state() const;
  [[noreturn]] void end_process(const RunEnd& run_end) const;

  const int world_rank_;
  const double timeout_seconds_;
  const std::chrono::duration<double> nap_;
  const Launcher launcher_;
  Descriptor wake_;  // an eventfd, so that the destructor does not wait for a nap to end

  // Held while this rank communicates with the others, which takes milliseconds with thousands of ranks. Threads that
  // enter a collective therefore do not take it. Code that needs both mutexes takes this one before `mutex_`.
  mutable std::mutex conversation_;
  std::unique_ptr<Heartbeat> heartbeat_;
  Clock::time_point heartbeat_sent_{};
  Clock::time_point looked_around_{};  // used by the watching thread only

  mutable std::mutex mutex_;  // guards all members below
  bool stop_ = false;
  std::list<Waiting> waiting_;
  std::uint64_t collectives_ = 0;
  std::string place_ = "the start";
  std::optional<Clock::time_point> step_since_;
  std::int64_t steps_ = 0;
  double slowest_step_seconds_ = 0;
  bool announced_ = false;
  std::optional<RunEnd> last_word_;  // this process ends with it at `last_word_at_` in any case
  Clock::time_point last_word_at_{};
  std::thread thread_;
};

}  // namespace spankey
