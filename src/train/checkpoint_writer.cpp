#include "train/checkpoint_writer.h"

#include <ATen/core/Tensor.h>

#include <chrono>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "base/sealed_file.h"
#include "record/run_directory.h"

namespace spankey {

Checkpoint snapshot(Checkpoint live) {
  for (auto* tensors : {&live.parameters, &live.buffers, &live.optimizer})
    for (auto& tensor : *tensors)
      tensor.value = tensor.value.detach().to(at::kCPU, /*non_blocking=*/false, /*copy=*/true);
  return live;
}

CheckpointWriter::CheckpointWriter(std::filesystem::path folder, std::int64_t keep, bool async,
                                   std::function<void()> require_ownership)
    : folder_(std::move(folder)), keep_(keep), require_ownership_(std::move(require_ownership)) {
  if (async) worker_ = std::make_unique<Worker>();
}

CheckpointWriter::~CheckpointWriter() {
  if (worker_) worker_->settle();
}

void CheckpointWriter::save(Checkpoint checkpoint) {
  if (!worker_) return commit(checkpoint);
  finish();
  worker_->give([this, written = std::move(checkpoint)] { commit(written); });
}

void CheckpointWriter::finish() {
  if (worker_) worker_->finish();
}

void CheckpointWriter::commit(const Checkpoint& checkpoint) {
  const auto start = std::chrono::steady_clock::now();
  const auto path = checkpoint_path(folder_, checkpoint.cursor.global_step);
  if (require_ownership_) require_ownership_();
  write_durably(path, encode_checkpoint(checkpoint), 0644, require_ownership_);
  checked_image(read_bytes(path), path.string());  // older ones go only after this one has been read back whole
  if (require_ownership_) require_ownership_();
  retain_checkpoints(folder_, path, keep_);
  last_seconds_ = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

void require_room(const std::filesystem::path& folder, std::initializer_list<std::vector<NamedTensor>> tensors) {
  constexpr std::uint64_t bytes_besides = 16 << 10, bytes_a_tensor = 1 << 10;  // HDF5's own, configuration, footer
  std::uint64_t bytes = bytes_besides;
  for (const auto& group : tensors)
    for (const auto& tensor : group) bytes += tensor.value.nbytes() + bytes_a_tensor;
  const auto free = free_bytes(folder);
  if (free && *free < 2 * bytes)
    fail_run("{}: {} bytes are free, two checkpoints take {}: free some space, or choose another --run-dir",
             folder.string(), *free, 2 * bytes);
}

}  // namespace spankey
