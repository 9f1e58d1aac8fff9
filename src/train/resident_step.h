// Steps whose data, keys, counters and learning rate live on the device, so that the host never waits inside of one and
// a whole step can be replayed as a graph. The numbers are those of train_step().
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "data/sampler.h"
#include "dist/communicator.h"
#include "spankey/keys/basis.h"
#include "spankey/keys/injection.h"
#include "train/captured_work.h"
#include "train/cursor.h"
#include "train/experiment.h"
#include "train/train_step.h"

namespace spankey {

// Where a resident step takes batch and keys from. `samples` (n) int64: the global batch or rows of it; `position` (2)
// int64: epoch, step within the epoch. Both lie on the device, and are read there and at the time of the step.
struct ResidentSource {
  // Images or features and labels of `samples`.
  std::function<std::pair<at::Tensor, at::Tensor>(const at::Tensor& samples, const at::Tensor& position)> assemble;
  // Keys of the global batch `samples`, asked for once a step.
  std::function<RowKeys(const at::Tensor& samples, const at::Tensor& position)> correct;
  std::function<Injection(const at::Tensor& samples, const at::Tensor& position)> wrong;
  // Of the rows `samples`, for a deny loss that asks (draw_deny_labels()).
  std::function<at::Tensor(const at::Tensor& samples, const at::Tensor& position)> drawn_labels;
};

class ResidentStep {
 public:
  // Steps between two looks at the figures, at most.
  static constexpr std::int64_t ring_rows = 64;

  // Made on the graph's stream (DeviceGraph::use), and the parts as well: autograd remembers where its nodes were made.
  ResidentStep(StepParts& parts, const Sampler& sampler, ResidentSource source, std::unique_ptr<DeviceGraph> graph);

  // Takes the step at `cursor`, on a device without waiting for it; returns the samples of its global batch.
  std::int64_t step(const Cursor& cursor, double lr);

  // Figures of the steps since the last call, in order; waits for them. A loss or gradient that is not finite is found
  // here: the weights are spoilt from that step on, and must not be saved.
  std::vector<StepFigures> collect();

  // Kernels of the captured step; 0 before it is captured, and on the CPU.
  std::int64_t kernels() const { return work_.kernels(); }

 private:
  void move_to(const Cursor& cursor);
  void take(std::int64_t samples, double weight);

  StepParts& parts_;
  Sampler sampler_;
  ResidentSource source_;
  CapturedWork work_;
  std::int64_t batch_ = 0, epoch_samples_ = 0;
  std::optional<std::pair<std::int64_t, std::int64_t>> next_;  // epoch and step that position_ holds
  double lr_ = 0.0;                                            // that parts_.lr holds
  std::int64_t pending_ = 0, first_row_ = 0;                   // rows of the ring that have not been read

  at::Tensor position_;    // (2) int64
  at::Tensor order_;       // (samples of an epoch) int64, in the order of training
  at::Tensor rows_;        // (batch) int64: 0, 1, ...
  at::Tensor ring_, row_;  // (ring_rows, 4) float64: loss, ce, deny, norm or sum of the gradients; (1) int64
};

}  // namespace spankey
