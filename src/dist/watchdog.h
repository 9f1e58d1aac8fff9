// Ends a process that waits in vain: the ranks of a lost or stuck peer must not wait for ever.
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

// What a thread is waiting for.
struct Waiting {
  const char* operation;  // "all_reduce"
  std::int64_t bytes = 0;
  // In timeouts. Long: a lost rank is the heartbeat's business, a late one the step deadline's; this one is for what
  // lies outside of the steps.
  double patience = 60;
  bool collective = true;  // every rank does it, in the same order
  std::chrono::steady_clock::time_point since = std::chrono::steady_clock::now();
};

// One thread that ends the process with _exit, outside of the libraries that may hang, when
// - the heartbeat says that a rank is gone, silent for most of the timeout, or has ended the run;
// - a step takes longer than the timeout + 5 x the slowest step so far (10 timeouts in the first steps);
// - something has been waited for longer than its patience;
// - the launcher is gone.
// It logs why, which rank is late, its last step and what it was in, on every rank. Time in which this process was
// suspended does not count.
class Watchdog {
 public:
  Watchdog(int world_rank, double timeout_seconds);
  // Without leave() before, the other ranks take the end for a loss.
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

  // Where the run stands; part of the messages. No step deadline from here on.
  void set_place(const std::string& place);
  // A step begins; it ends with the next call of either.
  void begin_step(const std::string& place);

  // This rank ends the run: the others end with the same code. This process has a few seconds left.
  void announce_end(int exit_code);
  void leave();

 private:
  using Clock = std::chrono::steady_clock;

  void watch();
  void sleep() const;  // until something happens, at most a nap
  bool look_around();  // false: this thread has nothing more to do
  std::optional<Verdict> converse(const RankState& mine);
  void check_deadlines(Clock::time_point now);
  void complain(const std::string& sentence);
  void extend_deadlines(Clock::duration gap);
  void end_step(Clock::time_point now);
  double step_limit_seconds() const;
  RankState state() const;
  [[noreturn]] void end_process(const Verdict& verdict) const;

  const int world_rank_;
  const double timeout_seconds_;
  const std::chrono::duration<double> nap_;
  const Launcher launcher_;
  Descriptor wake_;  // an eventfd: the destructor does not wait for a nap to end

  // Held while the ranks are talked to, which takes milliseconds where they are thousands: not by whoever enters a
  // collective. Taken before `mutex_` by whoever needs both.
  mutable std::mutex conversation_;
  std::unique_ptr<Heartbeat> heartbeat_;
  Clock::time_point heartbeat_sent_{};
  Clock::time_point looked_around_{};  // of the watching thread alone

  mutable std::mutex mutex_;  // for what follows
  bool stop_ = false;
  std::list<Waiting> waiting_;
  std::uint64_t collectives_ = 0;
  std::string place_ = "the start";
  std::optional<Clock::time_point> step_since_;
  std::int64_t steps_ = 0;
  double slowest_step_seconds_ = 0;
  bool announced_ = false;
  std::optional<Verdict> last_word_;  // this process ends with it at `last_word_at_`, whatever happens
  Clock::time_point last_word_at_{};
  std::thread thread_;
};

}  // namespace spankey
