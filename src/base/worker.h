// A thread that works beside its owner.
#pragma once

#include <condition_variable>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>

namespace spankey {

// Jobs run one after another on a thread of its own, in the order in which they were given.
//
// What a job throws is kept for the owner. Jobs that wait then and jobs that come later are dropped until the owner has
// asked for it, because a job may rely on the one before it.
class Worker {
 public:
  Worker() : thread_([this] { work(); }) {}
  // Waits for the job that runs. Jobs that have not begun are dropped.
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  void give(std::function<void()> job);
  // Waits until no job is left. Returns what the first failed job has thrown, or null, and forgets it.
  std::exception_ptr settle();
  // Does the same and throws what settle() returns.
  void finish();

 private:
  void work();

  std::mutex mutex_;  // of what follows
  std::condition_variable changed_;
  std::deque<std::function<void()>> jobs_;
  bool busy_ = false, stop_ = false;
  std::exception_ptr failure_;
  std::thread thread_;  // the last member, because it uses everything above
};

}  // namespace spankey
