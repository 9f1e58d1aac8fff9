// Counts what a network answers over a split. Evaluations and attacks share this loop.
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

// The number of samples that a network gets at once. It keeps the cores busy, and the activations stay in the caches.
// The bits of an answer may depend on the rows beside it, so everybody cuts a split in the same way.
inline constexpr std::int64_t evaluation_batch = 256;
// The same for a network on `device`. A GPU wants more work at once and has no cache to stay in.
std::int64_t evaluation_batch_on(at::Device device);

// Keeps a model in evaluation mode without gradients as long as the object lives. Afterwards the model has its former
// mode again.
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

// Rows of a split as a network takes them.
class SplitReader {
 public:
  // Keeps references. `subset` holds the samples of the split that count, in their order. An empty one means all.
  // The rows lie on the device of the experiment.
  SplitReader(const Experiment& experiment, const Split& split, std::span<const std::int64_t> subset = {},
              Augment augment = Augment::none);
  // On `device`. The network sends the outputs of rows on the CPU back there.
  SplitReader(const Experiment& experiment, const Split& split, std::span<const std::int64_t> subset,
              at::Device device);

  struct Batch {
    at::Tensor x;       // (n, ...) float32
    at::Tensor labels;  // (n) int64
  };
  std::int64_t size() const;
  // Returns rows begin .. end-1. The same rows asked for again are not assembled again.
  const Batch& rows(std::int64_t begin, std::int64_t end);

 private:
  const Split& split_;
  std::span<const std::int64_t> subset_;
  Assembler assemble_;
  at::Device device_;
  std::optional<std::pair<std::int64_t, std::int64_t>> held_;
  Batch batch_;
};

// Answers a batch x (n, ...) with an Output of n rows.
using Answers = std::function<Output(const at::Tensor& x)>;

// access_counts() over rows begin .. end-1 of `reader`, in one batch.
at::Tensor measure(const Answers& answers, SplitReader& reader, std::int64_t begin, std::int64_t end,
                   RejectKind reject);
// Over all of them, in batches of evaluation_batch. `after_each_batch` may throw to leave.
AccessCounts measure(const Answers& answers, SplitReader& reader, RejectKind reject,
                     const std::function<void()>& after_each_batch = {});

}  // namespace spankey
