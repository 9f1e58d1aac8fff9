// Ends a process that waits in vain: the ranks of a lost or stuck peer must not wait for ever.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <list>
#include <mutex>
#include <string>
#include <thread>

namespace spankey {

// What a thread is waiting for.
struct Waiting {
  const char* operation;  // "all_reduce"
  std::int64_t bytes;
  int rank, size;  // of the communicator
  const char* file;
  std::uint_least32_t line;
  double patience = 1;  // in timeouts
  std::chrono::steady_clock::time_point since = std::chrono::steady_clock::now();
};

// One thread that looks at what the others wait for. When something has waited longer than the timeout, it logs rank,
// operation, place and what the run was doing, flushes the log and calls _exit(3), outside the library that hangs.
class Watchdog {
 public:
  explicit Watchdog(int world_rank, double timeout_seconds);
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

  // Where the run stands; part of the message.
  void set_place(const std::string& place);

 private:
  void watch();
  [[noreturn]] void end_process(const Waiting& waiting, double waited_seconds) const;

  const int world_rank_;
  const double timeout_seconds_;
  std::mutex mutex_;
  std::condition_variable stopped_;
  bool stop_ = false;
  std::list<Waiting> waiting_;
  std::string place_ = "before the first step";
  std::thread thread_;
};

}  // namespace spankey
