// Writes checkpoints on a helper thread: the caller hands over a snapshot and goes on training.
#pragma once

#include <condition_variable>
#include <exception>
#include <filesystem>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>

#include "train/checkpoint.h"

namespace spankey {

class CheckpointWriter {
 public:
  // `keep`: how many committed checkpoints stay. Synchronous when `async` is false.
  CheckpointWriter(std::filesystem::path folder, std::int64_t keep, bool async);
  ~CheckpointWriter();
  CheckpointWriter(const CheckpointWriter&) = delete;
  CheckpointWriter& operator=(const CheckpointWriter&) = delete;

  // Tensors of `snapshot` must be copies that nobody changes. Saves are committed in the order of the calls; a call
  // waits while the one before it is still being written. Rethrows what an earlier save ended with.
  void save(Checkpoint snapshot);

  // Returns when everything handed over is committed (or rethrows why not).
  void finish();

 private:
  void commit(const Checkpoint& snapshot) const;
  void work();

  std::filesystem::path folder_;
  std::int64_t keep_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<Checkpoint> pending_;
  bool busy_ = false;
  bool stop_ = false;
  std::exception_ptr failure_;
  std::thread worker_;  // not running when synchronous
};

}  // namespace spankey
