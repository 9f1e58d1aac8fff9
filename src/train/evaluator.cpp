#include "train/evaluator.h"

#include <ATen/ATen.h>
#include <torch/utils.h>

#include <numeric>

#include "data/assembler.h"
#include "spankey/access.h"

namespace spankey {
namespace {

// Large enough to keep the cores busy, small enough for the activations to stay in cache.
constexpr std::int64_t evaluation_batch = 256;

enum Count : std::int64_t { count_samples, count_correct, count_strip_correct, count_rejected, counts };
enum Kind : std::int64_t { kind_none, kind_correct, kind_wrong, kinds };

void add(const at::Tensor& row, const AccessCounts& found) {
  auto* values = row.mutable_data_ptr<std::int64_t>();
  values[count_samples] += found.samples;
  values[count_correct] += found.correct;
  values[count_strip_correct] += found.strip;
  values[count_rejected] += found.rejected;
}

AccessFigures figures(const at::Tensor& row, bool can_reject) {
  const auto* values = row.const_data_ptr<std::int64_t>();
  const auto share = [&](Count which) {
    return static_cast<double>(values[which]) / static_cast<double>(values[count_samples]);
  };
  return {.accuracy = share(count_correct),
          .strip_accuracy = share(count_strip_correct),
          .reject_fraction = can_reject ? std::optional(share(count_rejected)) : std::nullopt};
}

// Evaluation must not leave the model in another mode than it found it in.
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

}  // namespace

Evaluator::Evaluator(const Experiment& experiment, const KeyMaker& keys, Communicator& communicator)
    : experiment_(experiment), keys_(keys), communicator_(communicator) {}

AccessReport Evaluator::evaluate(std::int64_t keys, bool with_train_split) const {
  const auto& dataset = *experiment_.dataset;
  AccessReport report;
  report.test_samples = dataset.test().size;
  report.majority_rate = dataset.majority_rate(dataset.test());
  report.test = evaluate_split(dataset.test(), dataset.test().size, Augment::none, keys);
  const auto augment = experiment_.config.eval.aug ? experiment_.config.data.augment : Augment::none;
  if (with_train_split) report.train = evaluate_split(dataset.train(), experiment_.train_samples(), augment, keys);
  return report;
}

SplitAccess Evaluator::evaluate_split(const Split& split, std::int64_t samples, Augment augment,
                                      std::int64_t keys) const {
  const EvaluationMode mode(*experiment_.model);
  const auto& config = experiment_.config;
  const bool fresh_keys = keys == 0;
  const auto batch = fresh_keys ? config.train.global_batch : evaluation_batch;
  const auto batches = (samples + batch - 1) / batch;
  const auto key_count = fresh_keys ? batches : keys;
  const Assembler assemble(*experiment_.dataset, split, augment, static_cast<std::uint64_t>(config.run.seed),
                           Purpose::eval_augment);
  auto table = at::zeros({kinds, key_count, counts}, at::kLong);

  for (std::int64_t b = communicator_.rank(); b < batches; b += communicator_.size()) {
    const auto begin = b * batch, end = std::min(samples, begin + batch);
    std::vector<std::int64_t> indices(static_cast<std::size_t>(end - begin));
    std::iota(indices.begin(), indices.end(), begin);
    at::Tensor x, labels;
    assemble(indices, /*epoch=*/0, x, labels);
    const auto measure = [&](Kind kind, std::int64_t key, const Injection& injection) {
      add(table[kind][key], count_access(experiment_.model->forward(x, injection), labels, experiment_.deny->reject));
    };
    measure(kind_none, 0, Injection::none());
    for (std::int64_t key = fresh_keys ? b : 0; key < (fresh_keys ? b + 1 : keys); ++key) {
      measure(kind_correct, key, keys_.evaluation_correct(key, end - begin));
      measure(kind_wrong, key, keys_.evaluation_wrong(key, end - begin));
    }
  }
  communicator_.all_reduce(table);

  const bool can_reject = experiment_.deny->reject != RejectKind::none;
  SplitAccess access;
  access.no_key = figures(table[kind_none][0], can_reject);
  for (std::int64_t key = 0; key < key_count; ++key) {
    access.correct_key.push_back(figures(table[kind_correct][key], can_reject));
    access.wrong_key.push_back(figures(table[kind_wrong][key], can_reject));
    access.weights.push_back(table[kind_correct][key][count_samples].item<double>());
  }
  return access;
}

}  // namespace spankey
