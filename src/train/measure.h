// Counting what a network gives away over a split: the one loop behind evaluations and attacks.
#pragma once

#include <ATen/core/Tensor.h>
#include <torch/utils.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <span>

#include "data/assembler.h"
#include "spankey/deny/access.h"
#include "spankey/models/model.h"
#include "train/experiment.h"

namespace spankey {

// Samples that are fed to a network at once: enough to keep the cores busy, few enough for the activations to stay in
// cache. The bits of an answer may depend on the rows beside it, so that everybody cuts a split the same way.
inline constexpr std::int64_t evaluation_batch = 256;

// Evaluation mode without gradients, for as long as the object lives. The model is left in the mode it was found in.
class EvaluationMode {
 public:
  explicit EvaluationMode(Model& model) : model_(model), was_training_(model.is_training()) { model_.eval(); }
  ~EvaluationMode() { model_.train(was_training_); }
  EvaluationMode(const EvaluationMode&) = delete;
  EvaluationMode& operator=(const EvaluationMode&) = delete;

 private:
  Model& model_;
  bool was_training_;
  torch::NoGradGuard no_grad_;
};

// Rows of a split as a network takes them, on the device of the experiment.
class SplitReader {
 public:
  // Keeps references. `subset`: the samples of the split that count, in their order; empty: all.
  SplitReader(const Experiment& experiment, const Split& split, std::span<const std::int64_t> subset = {},
              Augment augment = Augment::none);

  struct Batch {
    at::Tensor x;       // (n, ...) float32
    at::Tensor labels;  // (n) int64
  };
  std::int64_t size() const;
  // Rows begin .. end-1. The same rows asked for again are not assembled again.
  const Batch& rows(std::int64_t begin, std::int64_t end);

 private:
  const Experiment& experiment_;
  const Split& split_;
  std::span<const std::int64_t> subset_;
  Assembler assemble_;
  std::optional<std::pair<std::int64_t, std::int64_t>> held_;
  Batch batch_;
};

// What answers: x (n, ...) -> Output of n rows.
using Answers = std::function<Output(const at::Tensor& x)>;

// Over rows begin .. end-1 of `reader`, in one batch.
AccessCounts measure(const Answers& answers, SplitReader& reader, std::int64_t begin, std::int64_t end,
                     RejectKind reject);
// Over all of them, in batches of evaluation_batch. `after_each_batch` may throw to leave.
AccessCounts measure(const Answers& answers, SplitReader& reader, RejectKind reject,
                     const std::function<void()>& after_each_batch = {});

}  // namespace spankey
