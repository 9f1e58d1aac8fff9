#include "train/evaluator.h"

#include <ATen/ATen.h>
#include <torch/utils.h>

#include <algorithm>
#include <numeric>
#include <optional>
#include <string>
#include <utility>

#include "data/assembler.h"
#include "spankey/access.h"
#include "train/together.h"

namespace spankey {
namespace {

// Large enough to keep the cores busy, small enough for the activations to stay in cache.
constexpr std::int64_t evaluation_batch = 256;

enum Count : std::int64_t { count_samples, count_correct, count_strip_correct, count_rejected, counts };
constexpr std::int64_t saturation_keys = 16;

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
          .reject_fraction = can_reject ? std::optional(share(count_rejected)) : std::nullopt,
          .samples = static_cast<double>(values[count_samples])};
}

// Of the keys that were tried on any sample; table (keys, counts).
KeyAccess key_figures(const at::Tensor& table, bool can_reject) {
  KeyAccess keys;
  for (std::int64_t key = 0; key < table.size(0); ++key)
    if (table[key][count_samples].item<std::int64_t>() > 0) keys.push_back(figures(table[key], can_reject));
  return keys;
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
  EvaluationRequest request{.keys = keys, .with_train_split = with_train_split, .families = {}, .norms = {}};
  for (const auto& name : experiment_.config.eval.families) request.families.push_back(&find_key_family(name));
  return evaluate(request);
}

AccessReport Evaluator::evaluate(const EvaluationRequest& request) const {
  const auto& dataset = *experiment_.dataset;
  AccessReport report;
  report.test_samples = dataset.test().size;
  report.majority_rate = dataset.majority_rate(dataset.test());
  report.test = evaluate_split(dataset.test(), {}, Augment::none, request);
  const auto augment = experiment_.config.eval.aug ? experiment_.config.data.augment : Augment::none;
  if (request.with_train_split)
    report.train = evaluate_split(dataset.train(), experiment_.train_subset, augment, request);
  add_saturation(report, request.keys);
  together(communicator_, [&] {
    if (communicator_.local_rank() == 0) dataset.require_unchanged();
  });
  return report;
}

std::vector<Evaluator::Series> Evaluator::series(std::int64_t keys, const EvaluationRequest& request) const {
  const auto correct = [this](double norm) {
    return [this, norm](std::int64_t key, std::int64_t rows) { return keys_.evaluation_correct(key, rows, norm); };
  };
  const auto wrong = [this](const KeyFamily& family, double norm) {
    return [this, &family, norm](std::int64_t key, std::int64_t rows) {
      return keys_.evaluation_wrong(key, rows, family, norm);
    };
  };
  const auto correct_keys = request.keys == 0 ? keys : keys_.correct_keys(keys);
  std::vector<Series> all = {{1, [](std::int64_t, std::int64_t) { return Injection::none(); }},
                             {correct_keys, correct(1.0)}};
  for (const auto* family : request.families) all.push_back({keys, wrong(*family, 1.0)});
  for (const double norm : request.norms) {
    all.push_back({correct_keys, correct(norm)});
    all.push_back({keys, wrong(gaussian_family(), norm)});
  }
  return all;
}

SplitAccess Evaluator::evaluate_split(const Split& split, std::span<const std::int64_t> subset, Augment augment,
                                      const EvaluationRequest& request) const {
  const auto samples = subset.empty() ? split.size : static_cast<std::int64_t>(subset.size());
  const EvaluationMode mode(*experiment_.model);
  const auto& config = experiment_.config;
  const bool fresh_keys = request.keys == 0;
  const auto batch = fresh_keys ? config.train.global_batch : evaluation_batch;
  const auto batches = (samples + batch - 1) / batch;
  const auto key_count = fresh_keys ? batches : request.keys;
  const Assembler assemble(*experiment_.dataset, split, augment, static_cast<std::uint64_t>(config.run.seed),
                           Purpose::eval_augment, config.data.rotation);
  const auto all = series(key_count, request);
  auto table = at::zeros({static_cast<std::int64_t>(all.size()), key_count, counts}, at::kLong);

  for (std::int64_t b = communicator_.rank(); b < batches; b += communicator_.size()) {
    const auto begin = b * batch, end = std::min(samples, begin + batch);
    std::vector<std::int64_t> indices(static_cast<std::size_t>(end - begin));
    std::iota(indices.begin(), indices.end(), begin);
    if (!subset.empty())
      for (std::int64_t& index : indices) index = subset[static_cast<std::size_t>(index)];
    at::Tensor x, labels;
    assemble(indices, /*epoch=*/0, x, labels);
    x = to_device(x, experiment_.placement.device);
    labels = to_device(labels, experiment_.placement.device);
    for (std::size_t i = 0; i < all.size(); ++i) {
      const bool this_batch_only = fresh_keys && i > 0;
      for (std::int64_t key = this_batch_only ? b : 0; key < (this_batch_only ? b + 1 : all[i].keys); ++key) {
        const auto output = experiment_.model->forward(x, all[i].make(key, end - begin));
        add(table[static_cast<std::int64_t>(i)][key], count_access(output, labels, experiment_.deny->reject));
      }
    }
  }
  communicator_.all_reduce(table);

  const bool can_reject = experiment_.deny->reject != RejectKind::none;
  std::int64_t row = 0;
  const auto next = [&] { return key_figures(table[row++], can_reject); };
  SplitAccess access;
  access.no_key = next().at(0);
  access.correct_key = next();
  for (const auto* family : request.families) access.families.push_back({std::string(family->name), next()});
  for (const double norm : request.norms) {
    auto correct = next();
    access.norm_sweep.push_back({norm, std::move(correct), next()});
  }
  return access;
}

// A property of the keys alone: the same on every rank.
void Evaluator::add_saturation(AccessReport& report, std::int64_t keys) const {
  const auto count = keys == 0 ? saturation_keys : std::min(keys, saturation_keys);
  const auto mean_over = [&](const auto& make) -> std::optional<Saturation> {
    Saturation mean;
    for (std::int64_t key = 0; key < count; ++key) {
      const auto one = keys_.saturation(make(key));
      if (!one) return std::nullopt;
      mean.low += one->low / static_cast<double>(count);
      mean.high += one->high / static_cast<double>(count);
    }
    return mean;
  };
  report.correct_saturation = mean_over([&](std::int64_t key) { return keys_.evaluation_correct(key, 1); });
  report.wrong_saturation = mean_over([&](std::int64_t key) { return keys_.evaluation_wrong(key, 1); });
}

}  // namespace spankey
