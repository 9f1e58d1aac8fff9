#include "train/checkpoint_writer.h"

#include <utility>

#include "base/file.h"

namespace spankey {

CheckpointWriter::CheckpointWriter(std::filesystem::path folder, std::int64_t keep, bool async)
    : folder_(std::move(folder)), keep_(keep) {
  if (async) worker_ = std::thread([this] { work(); });
}

CheckpointWriter::~CheckpointWriter() {
  if (!worker_.joinable()) return;
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  worker_.join();
}

void CheckpointWriter::save(Checkpoint snapshot) {
  if (!worker_.joinable()) return commit(snapshot);
  finish();
  {
    std::lock_guard lock(mutex_);
    pending_ = std::move(snapshot);
    busy_ = true;
  }
  changed_.notify_all();
}

void CheckpointWriter::finish() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return !busy_; });
  if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
}

void CheckpointWriter::commit(const Checkpoint& snapshot) const {
  const auto path = checkpoint_path(folder_, snapshot.cursor.global_step);
  write_durably(path, encode_checkpoint(snapshot));
  checked_image(read_bytes(path), path.string());  // older ones go only after this one has been read back whole
  retain_checkpoints(folder_, path, keep_);
}

void CheckpointWriter::work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return stop_ || pending_; });
    if (!pending_) return;
    const Checkpoint snapshot = *std::exchange(pending_, std::nullopt);
    lock.unlock();
    std::exception_ptr failure;
    try {
      commit(snapshot);
    } catch (...) {
      failure = std::current_exception();
    }
    lock.lock();
    failure_ = failure;
    busy_ = false;
    changed_.notify_all();
  }
}

}  // namespace spankey
