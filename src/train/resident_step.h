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

#include "dist/communicator.h"
#include "dist/device_graph.h"
#include "spankey/keys/injection.h"
#include "spankey/keys/key_maker.h"
#include "train/cursor.h"
#include "train/experiment.h"
#include "train/stepper.h"
#include "train/train_step.h"

namespace spankey {

// train.capture, with "auto" resolved: on a GPU.
bool wants_resident(const Experiment& experiment);

// The option in the way of resident steps, in a few words, or nothing.
std::optional<std::string> resident_why_not(const Experiment& experiment, const Communicator& communicator);

// Error(bad_input) where train.capture = "on" asks for what resident_why_not() knows a reason against.
void require_capture(const Experiment& experiment, const Communicator& communicator);

// Where a resident step takes batch and keys from. `samples` (n) int64: the global batch or rows of it; `position` (2)
// int64: epoch, step within the epoch. Both lie on the device, and are read there and at the time of the step.
struct ResidentSource {
  // Images or features and labels of `samples`.
  std::function<std::pair<at::Tensor, at::Tensor>(const at::Tensor& samples, const at::Tensor& position)> assemble;
  // Keys of the global batch `samples`, asked for once a step.
  std::function<RowKeys(const at::Tensor& samples, const at::Tensor& position)> correct;
  std::function<Injection(const at::Tensor& samples, const at::Tensor& position)> wrong;
  // For a deny loss that asks: draw_deny_labels() of the rows `samples`.
  std::function<at::Tensor(const at::Tensor& samples, const at::Tensor& position)> drawn_labels;
};

// Copies the training data to the device of the experiment. `keys` draw on that device; they are kept as a reference.
ResidentSource make_resident_source(const Experiment& experiment, const KeyMaker& keys);

// A step that is run eagerly a few times, then captured as one graph, then replayed: which of the three comes next. The
// eager steps are steps of the run like all others. They make what a capture must find: workspaces of libraries,
// connections, memory. Capturing executes nothing, so that no state moves but by a step.
class CapturedWork {
 public:
  static constexpr int eager_steps_before_capture = 3;

  explicit CapturedWork(std::unique_ptr<DeviceGraph> graph) : graph_(std::move(graph)) {}

  // What a graph has written into it. Everything else is read from the device's memory when it is replayed.
  struct Constants {
    std::int64_t batch = 0;    // samples of the global batch
    double deny_weight = 0.0;  // of the deny loss, 0: none
    friend bool operator==(const Constants&, const Constants&) = default;
  };

  // `work` once. It must be the same work whenever `constants` are the same, and outlives this object's use of it. With
  // other constants than the last time the graph is given up and the work is eager again, then captured anew.
  void run(const Constants& constants, const std::function<void()>& work);

  // Outside of the graph, on its stream: work that differs now and then (the last partial batch, an upload).
  void run_uncaptured(const std::function<void()>& work) { graph_->use(work); }

  // DeviceGraph::kernels().
  std::int64_t kernels() const { return graph_->kernels(); }

 private:
  std::unique_ptr<DeviceGraph> graph_;
  Constants constants_;
  int eager_steps_ = 0;
  bool captured_ = false;
};

class ResidentStep final : public Stepper {
 public:
  // Steps between two looks at the figures, at most.
  static constexpr std::int64_t ring_rows = 64;

  // Made on the graph's stream (DeviceGraph::use), and the parts as well: autograd remembers where its nodes were made.
  ResidentStep(std::unique_ptr<TrainingParts> parts, ResidentSource source, std::unique_ptr<DeviceGraph> graph,
               Communicator& communicator);

  // launch(), and collect() where figures are due. A loss or gradient that is not finite is found then. The weights are
  // spoilt from that step on, and must not be saved.
  std::vector<StepFigures> step(const Cursor& cursor, double lr, const StopWish& wants_stop) override;

  // Takes the step at `cursor`, on a device without waiting for it.
  void launch(const Cursor& cursor, double lr);

  // Figures of the steps since the last call, in order; waits for them.
  std::vector<StepFigures> collect();

  // Kernels of the captured step; 0 before it is captured, and on the CPU.
  std::int64_t kernels() const { return work_.kernels(); }

 private:
  bool due(const Cursor& after) const;
  bool agree_to_stop(const StopWish& wants_stop);
  void move_to(const Cursor& cursor);
  void take(std::int64_t samples, double weight);

  StepParts& step_parts_;
  const Sampler& sampler_;
  ResidentSource source_;
  CapturedWork work_;
  std::int64_t batch_ = 0, epoch_samples_ = 0;
  std::optional<std::pair<std::int64_t, std::int64_t>> next_;  // epoch and step that position_ holds
  double lr_ = 0.0;                                            // that step_parts_.lr holds
  std::vector<std::int64_t> unread_;                           // samples of the steps whose figures have not been read
  std::int64_t first_row_ = 0;                                 // of the ring, of the first unread step

  at::Tensor position_;    // (2) int64
  at::Tensor order_;       // (samples of an epoch) int64, in the order of training
  at::Tensor rows_;        // (batch) int64: 0, 1, ...
  at::Tensor ring_, row_;  // (ring_rows, 4) float64: loss, ce, deny, norm or sum of the gradients; (1) int64
};

}  // namespace spankey
