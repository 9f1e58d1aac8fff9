// The common ground of all parts of a diagnosis. It holds a trained run, its keys, some of its test samples, and the
// ranks that share the work.
#pragma once

#include <ATen/core/Tensor.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "diagnose/key_space.h"
#include "diagnose/margin.h"
#include "dist/communicator.h"
#include "spankey/keys/key_maker.h"
#include "train/loaded_run.h"

namespace spankey {

struct DiagnoseOptions {
  std::int64_t samples = 512;  // of the test split, evenly spread, at most all
  std::int64_t keys = 16;      // valid and wrong ones, at least 2
};

class DiagnoseRun {
 public:
  // Collective. Keeps references. Puts the network into evaluation mode and takes the gradients from its parameters.
  // Throws Error(bad_input) for a run without keys.
  DiagnoseRun(LoadedRun& run, const DiagnoseOptions& options, Communicator& communicator);

  const Experiment& experiment() const { return run_.experiment; }
  const Config& config() const { return run_.experiment.config; }
  const Basis& basis() const { return run_.basis; }
  const Cursor& cursor() const { return run_.cursor; }
  Model& model() const { return *run_.experiment.model; }
  const KeySpace& space() const { return space_; }
  const KeyMaker& keys() const { return keys_; }
  Communicator& communicator() const { return communicator_; }
  std::int64_t samples() const { return static_cast<std::int64_t>(samples_.size()); }
  std::uint64_t seed() const { return static_cast<std::uint64_t>(config().run.seed); }

  // Keys number 0 .. key_count() - 1, as the evaluation draws them, (1, d) for each slot.
  std::int64_t key_count() const { return static_cast<std::int64_t>(valid_.size()); }
  const std::vector<at::Tensor>& valid(std::int64_t i) const { return valid_[static_cast<std::size_t>(i)]; }
  const std::vector<at::Tensor>& wrong(std::int64_t i) const { return wrong_[static_cast<std::size_t>(i)]; }
  // All wrong keys, (key_count, d) for each slot.
  std::vector<at::Tensor> all_wrong() const;
  // Root mean square of the elements of the wrong keys, for each slot.
  const std::vector<double>& wrong_std() const { return wrong_std_; }
  std::vector<at::Tensor> no_keys() const { return space_.no_keys(1, at::kFloat); }

  // There is a view "class_logits", and a view "as_shipped" where the network can reject.
  struct View {
    std::string name;
    std::string outputs;  // those that judge an answer, for the axis of a plot
    Judge judge;
  };
  const std::vector<View>& views() const { return views_; }

  struct Batch {
    std::int64_t index, begin, end;  // samples begin .. end-1
    at::Tensor x, labels;
    std::int64_t size() const { return end - begin; }
  };
  // Collective. Calls `work` with this rank's share of the batches, which are the same for every number of ranks, and
  // tells how far it has come, under the name `what`. Throws Interrupted where a rank has been asked to stop.
  void each_batch(const std::string& what, const std::function<void(const Batch&)>& work);
  // Collective. Does the same with the numbers 0 .. count-1 instead of batches.
  void each(std::int64_t count, const std::function<void(std::int64_t)>& work);
  // May be called at any moment within the work of a batch that takes long. Leaves that work where this rank has been
  // asked to stop.
  void leave_if_asked() const;
  // Each entry of `table` has been written by one rank and is zero on the others. Afterwards every rank has all of
  // them.
  void share(at::Tensor& table) const { communicator_.all_reduce(table); }

 private:
  struct Left {};  // thrown to leave the work of a batch
  LoadedRun& run_;
  Communicator& communicator_;
  KeyMaker keys_;
  KeySpace space_;
  std::vector<std::int64_t> samples_;
  std::int64_t batch_;
  std::vector<std::vector<at::Tensor>> valid_, wrong_;
  std::vector<double> wrong_std_;
  std::vector<View> views_;
  std::chrono::steady_clock::time_point told_ = std::chrono::steady_clock::now();
};

// The elements of a float64 tensor, all of them or those that are not NaN.
std::vector<double> to_doubles(const at::Tensor& values);
std::vector<double> defined_doubles(const at::Tensor& values);
// Returns the mean of all elements.
double mean_of(const at::Tensor& values);

}  // namespace spankey
