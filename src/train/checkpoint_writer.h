// Writes checkpoints on a helper thread. The caller hands over a snapshot and goes on training.
#pragma once

#include <atomic>
#include <filesystem>
#include <functional>
#include <initializer_list>
#include <memory>
#include <vector>

#include "base/worker.h"
#include "train/checkpoint.h"

namespace spankey {

// Returns `live` with copies of its tensors on the host, so that CheckpointWriter can write them while training changes
// the originals.
Checkpoint snapshot(Checkpoint live);

class CheckpointWriter {
 public:
  // `keep` is the number of committed checkpoints that stay. Saves are synchronous when `async` is false.
  // `require_ownership` throws where this process may no longer write here (Lease::require). It is called before a file
  // is written, before it gets its name and before older ones are removed.
  CheckpointWriter(std::filesystem::path folder, std::int64_t keep, bool async,
                   std::function<void()> require_ownership = {});
  ~CheckpointWriter();  // returns when everything handed over is committed, or has failed
  CheckpointWriter(const CheckpointWriter&) = delete;
  CheckpointWriter& operator=(const CheckpointWriter&) = delete;

  // The tensors of `checkpoint` must be copies that nobody changes (see snapshot()). Saves are committed in the order
  // of the calls. A call waits while the one before it is still being written. Rethrows the error of an earlier save.
  void save(Checkpoint checkpoint);

  // Returns when everything handed over is committed, or rethrows the error that prevented it.
  void finish();

  // Seconds that the last commit took, 0 before the first.
  double last_seconds() const { return last_seconds_.load(); }

 private:
  void commit(const Checkpoint& checkpoint);

  std::filesystem::path folder_;
  std::int64_t keep_;
  std::function<void()> require_ownership_;
  std::atomic<double> last_seconds_{0};
  std::unique_ptr<Worker> worker_;  // null when synchronous; last: it uses everything above
};

// Throws Error(run_failed) where the file system of `folder` has no room for two checkpoints of these tensors, so that
// a run that would end at its first save is not started.
void require_room(const std::filesystem::path& folder, std::initializer_list<std::vector<NamedTensor>> tensors);

}  // namespace spankey
