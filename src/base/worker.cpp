#include "base/worker.h"

#include <utility>

namespace spankey {

Worker::~Worker() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void Worker::give(std::function<void()> job) {
  {
    const std::lock_guard lock(mutex_);
    if (failure_) return;
    jobs_.push_back(std::move(job));
  }
  changed_.notify_all();
}

std::exception_ptr Worker::settle() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return jobs_.empty() && !busy_; });
  return std::exchange(failure_, nullptr);
}

void Worker::finish() {
  if (const auto failure = settle()) std::rethrow_exception(failure);
}

void Worker::work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return stop_ || !jobs_.empty(); });
    if (stop_) return;
    auto job = std::move(jobs_.front());
    jobs_.pop_front();
    busy_ = true;
    lock.unlock();
    std::exception_ptr failure;
    try {
      job();
    } catch (...) {
      failure = std::current_exception();
    }
    job = nullptr;  // what it holds ends on this thread, before anybody learns that it is done
    lock.lock();
    busy_ = false;
    if (failure) {
      failure_ = failure;
      jobs_.clear();
    }
    changed_.notify_all();
  }
}

}  // namespace spankey
