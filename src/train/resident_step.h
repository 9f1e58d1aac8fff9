// Steps whose data, keys, counters and learning rate are in device memory, so that the host never waits within a step
// and a whole step can be replayed as a graph. The numbers are those of train_step().
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
#include "record/cursor.h"
#include "spankey/keys/injection.h"
#include "spankey/keys/key_maker.h"
#include "train/experiment.h"
#include "train/stepper.h"
#include "train/train_step.h"

namespace spankey {

// True where train.capture asks for resident steps. "auto" asks for them on a GPU.
bool wants_resident(const Experiment& experiment);

// Returns, in a few words, the option that prevents resident steps, or nothing.
std::optional<std::string> resident_why_not(const Experiment& experiment, const Communicator& communicator);

// Throws Error(bad_input) where train.capture = "on" and resident_why_not() gives a reason against it.
void require_capture(const Experiment& experiment, const Communicator& communicator);

// The source of the batch and the keys of a resident step. `samples` (n) int64 is the global batch or rows of it.
// `position` (2) int64 is the epoch and the step within the epoch. Both are on the device, and are read there at the
// time of the step.
struct ResidentSource {
  // Returns images or features, and labels, of `samples`.
  std::function<std::pair<at::Tensor, at::Tensor>(const at::Tensor& samples, const at::Tensor& position)> assemble;
  // Return the keys of the global batch `samples`. They are called once a step.
  std::function<RowKeys(const at::Tensor& samples, const at::Tensor& position)> correct;
  std::function<Injection(const at::Tensor& samples, const at::Tensor& position)> wrong;
  // Returns draw_deny_labels() of the rows `samples`, for a deny loss that needs it.
  std::function<at::Tensor(const at::Tensor& samples, const at::Tensor& position)> drawn_labels;
};

// Copies the training data to the device of the experiment. `keys` draws on that device and is kept as a reference.
ResidentSource make_resident_source(const Experiment& experiment, const KeyMaker& keys);

// Runs a step eagerly a few times, then captures it as one graph, then replays the graph. The eager steps are steps of
// the run like all others. They create what a capture must find, such as workspaces of libraries, connections and
// memory. Capturing executes nothing, so that only steps change the state.
class CapturedWork {
 public:
  static constexpr int eager_steps_before_capture = 3;

  explicit CapturedWork(std::unique_ptr<DeviceGraph> graph) : graph_(std::move(graph)) {}

  // The values that are written into a graph. Everything else is read from device memory when the graph is replayed.
  struct Constants {
    std::int64_t batch = 0;  // samples of the global batch
    bool denies = false;     // whether there is a deny loss
    friend bool operator==(const Constants&, const Constants&) = default;
  };

  // Runs `work` once. It must be the same work whenever `constants` are the same, and must outlive its use by this
  // object. With other constants than the last time, the graph is dropped, and the work is eager again and then
  // captured anew.
  void run(const Constants& constants, const std::function<void()>& work);

  // Runs work outside of the graph, on its stream. This is for what differs now and then (the last partial batch, an
  // upload).
  void run_uncaptured(const std::function<void()>& work) { graph_->use(work); }

  // Returns DeviceGraph::kernels().
  std::int64_t kernels() const { return graph_->kernels(); }

 private:
  std::unique_ptr<DeviceGraph> graph_;
  Constants constants_;
  int eager_steps_ = 0;
  bool captured_ = false;
};

class ResidentStep final : public Stepper {
 public:
  // The largest number of steps between two reads of the figures.
  static constexpr std::int64_t ring_rows = 64;

  // This object and the parts must be made on the graph's stream (DeviceGraph::use), because autograd remembers where
  // its nodes were made.
  ResidentStep(std::unique_ptr<TrainingParts> parts, ResidentSource source, std::unique_ptr<DeviceGraph> graph,
               Communicator& communicator);

  // Calls launch(), and collect() where figures are due. A loss or gradient that is not finite is found then. The
  // weights are spoilt from that step on and must not be saved.
  std::vector<StepFigures> step(const Cursor& cursor, double lr, const StopWish& wants_stop) override;

  // Takes the step at `cursor`. It does not wait for a device.
  void launch(const Cursor& cursor, double lr);

  // Waits for the steps since the last call and returns their figures in order.
  std::vector<StepFigures> collect();

  // Kernels of the captured step, 0 before it is captured and on the CPU.
  std::int64_t kernels() const { return work_.kernels(); }

 private:
  bool due(const Cursor& after) const;
  void move_to(const Cursor& cursor);
  void take(std::int64_t samples, bool denies);

  StepParts& step_parts_;
  const Sampler& sampler_;
  ResidentSource source_;
  CapturedWork work_;
  std::int64_t batch_ = 0, epoch_samples_ = 0;
  std::optional<std::pair<std::int64_t, std::int64_t>> next_;  // epoch and step that position_ holds
  double lr_ = 0.0, deny_weight_ = 0.0;                        // what step_parts_.lr and .deny_weight hold
  std::vector<std::int64_t> unread_;                           // samples of the steps whose figures have not been read
  bool wishes_ = false;                                        // what wish_ holds
  std::int64_t first_row_ = 0;                                 // row of the ring that the first unread step has

  at::Tensor position_;    // (2) int64
  at::Tensor order_;       // (samples of an epoch) int64, in the order of training
  at::Tensor rows_;        // (batch) int64, the numbers 0, 1, ...
  at::Tensor ring_, row_;  // (ring_rows, 5) float64 with StepSlot, norm or sum of the gradients, and (1) int64
  at::Tensor wish_;        // () float64, 1 where this rank wants to stop
};

}  // namespace spankey
