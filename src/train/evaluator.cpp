#include "train/evaluator.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <numeric>
#include <optional>
#include <string>
#include <utility>

#include "base/error.h"
#include "data/assembler.h"
#include "dist/on_all_ranks.h"
#include "train/measure.h"

namespace spankey {
namespace {

// Behind the samples in the order of access_counts().
enum Count : std::int64_t { count_samples, count_correct, count_strip_correct, count_rejected, counts };
constexpr std::int64_t saturation_keys = 16;

// Every rank holds the figures of all keys at once, at most half a GiB of them.
constexpr std::int64_t most_figures = std::int64_t{1} << 24;

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

// Returns figures of the keys that were tried on any sample, from a table (keys, counts).
KeyAccess key_figures(const at::Tensor& table, bool can_reject) {
  KeyAccess keys;
  for (std::int64_t key = 0; key < table.size(0); ++key)
    if (table[key][count_samples].item<std::int64_t>() > 0) keys.push_back(figures(table[key], can_reject));
  return keys;
}

}  // namespace

AccessReport example_report(const EvaluationRequest& request, bool can_reject) {
  const AccessFigures one{.accuracy = 0.5,
                          .strip_accuracy = 0.5,
                          .reject_fraction = can_reject ? std::optional(0.5) : std::nullopt,
                          .samples = 1.0};
  const auto valid = request.with_valid_keys ? KeyAccess{one, one} : KeyAccess{};
  SplitAccess split{.no_key = one, .correct_key = valid, .families = {}, .norm_sweep = {}};
  for (const auto* family : request.families) split.families.push_back({std::string(family->name), {one, one}});
  for (const double norm : request.norms) split.norm_sweep.push_back({norm, valid, {one}});
  AccessReport report;
  report.test = split;
  if (request.with_train_split) report.train = split;
  report.test_samples = 1;
  if (!request.with_valid_keys) return report;
  report.correct_saturation = report.wrong_saturation = Saturation{};
  return report;
}

Evaluator::Evaluator(const Experiment& experiment, const KeyMaker& keys, Communicator& communicator)
    : experiment_(experiment), keys_(keys), communicator_(communicator) {}

EvaluationRequest Evaluator::request(std::int64_t keys, bool with_train_split) const {
  EvaluationRequest request{.keys = keys, .with_train_split = with_train_split, .families = {}, .norms = {}};
  for (const auto& name : experiment_.config.eval.families) request.families.push_back(&find_key_family(name));
  return request;
}

std::vector<Evaluator::SplitWork> Evaluator::splits(bool with_train_split) const {
  const auto& dataset = *experiment_.dataset;
  std::vector<SplitWork> all{{dataset.test(), {}, Augment::none}};
  const auto augment = experiment_.config.eval.aug ? experiment_.config.data.augment : Augment::none;
  if (with_train_split) all.push_back({dataset.train(), experiment_.train_subset, augment});
  return all;
}

// Divides the work of a split among the ranks. A piece is some rows under one key. Each rank gets a part of the pieces
// in the order of the rows, so that it assembles few batches. Every rank has some as long as there are as many pieces
// as ranks.
class Evaluator::Plan {
 public:
  // Rows that are fed to the network at once, and the batch whose keys they get.
  struct Rows {
    std::int64_t begin, end, batch, batch_rows;
  };
  struct Piece {
    std::size_t rows, series;
    std::int64_t key;
  };

  // `most_rows` are fed to the network at once.
  Plan(const Config& config, std::int64_t samples, std::int64_t most_rows, const EvaluationRequest& request,
       std::int64_t correct_keys)
      : fresh_keys_(request.keys == 0),
        rows_(cut(samples, fresh_keys_ ? config.train.global_batch : most_rows, most_rows)),
        key_count_(fresh_keys_ ? (rows_.empty() ? 0 : rows_.back().batch + 1) : request.keys) {
    const auto keys = [&](std::int64_t count, bool tried = true) {
      if (tried) pieces_a_row_ += fresh_keys_ ? 1 : count;
      last_of_series_.push_back(pieces_a_row_);
    };
    keys(1);
    keys(correct_keys, request.with_valid_keys);
    for (std::size_t i = 0; i < request.families.size(); ++i) keys(request.keys);
    for (std::size_t i = 0; i < request.norms.size(); ++i) {
      keys(correct_keys, request.with_valid_keys);
      keys(request.keys);
    }
  }

  std::int64_t series() const { return static_cast<std::int64_t>(last_of_series_.size()); }
  std::int64_t key_count() const { return key_count_; }
  const Rows& rows(std::size_t i) const { return rows_[i]; }
  std::int64_t pieces() const { return static_cast<std::int64_t>(rows_.size()) * pieces_a_row_; }
  std::int64_t rounds(int ranks) const { return (pieces() + ranks - 1) / ranks; }
  // The first piece of a rank. The end of the last rank is pieces().
  std::int64_t begin(int rank, int ranks) const {
    const auto most = pieces() % ranks;  // so many ranks have one more
    return pieces() / ranks * rank + std::min<std::int64_t>(rank, most);
  }

  Piece piece(std::int64_t index) const {
    const auto rows = static_cast<std::size_t>(index / pieces_a_row_);
    const auto column = index % pieces_a_row_;
    const auto found = std::upper_bound(last_of_series_.begin(), last_of_series_.end(), column);
    const auto series = static_cast<std::size_t>(found - last_of_series_.begin());
    if (fresh_keys_) return {rows, series, series == 0 ? 0 : rows_[rows].batch};
    return {rows, series, series == 0 ? column : column - last_of_series_[series - 1]};
  }

 private:
  // The cut is the same for every number of ranks, because the bits of an answer may depend on the rows beside it.
  static std::vector<Rows> cut(std::int64_t samples, std::int64_t batch, std::int64_t most_rows) {
    std::vector<Rows> all;
    for (std::int64_t b = 0; b * batch < samples; ++b) {
      const auto end = std::min(samples, (b + 1) * batch);
      for (auto row = b * batch; row < end; row += most_rows)
        all.push_back({row, std::min(end, row + most_rows), b, end - b * batch});
    }
    return all;
  }

  bool fresh_keys_;
  std::vector<Rows> rows_;
  std::int64_t key_count_;  // keys of the kind that has the most
  std::int64_t pieces_a_row_ = 0;
  std::vector<std::int64_t> last_of_series_;  // the first column after those of each series
};

void Evaluator::require_possible(const EvaluationRequest& request) const {
  const auto kinds = static_cast<std::int64_t>(2 + request.families.size() + 2 * request.norms.size());
  if (request.keys > most_figures / kinds)
    fail_input("eval.keys = {}: the figures of so many keys of {} kinds cannot be held; accepted: 0 to {}",
               request.keys, kinds, most_figures / kinds);
  for (const auto& work : splits(request.with_train_split))
    if (work.samples() == 0)
      fail_key(experiment_.config, "data.file",
               "a split without samples cannot be evaluated; accepted: data with some");
  for (const auto& one : series(1, request))
    if (one.keys > 0) one.make(0, evaluation_batch);
}

AccessReport Evaluator::evaluate(const EvaluationRequest& request) const {
  on_all_ranks(communicator_, [&] { require_possible(request); });
  const auto& dataset = *experiment_.dataset;
  const auto all = splits(request.with_train_split);
  std::int64_t rounds = 0, done = 0;
  for (const auto& work : all) rounds += plan(work, request).rounds(communicator_.size());
  StopRounds stop(communicator_, request.stop_wish);
  const auto after_each_piece = [&] {
    if (request.progress) request.progress(static_cast<double>(++done) / static_cast<double>(rounds));
    stop.next();
  };
  AccessReport report;
  report.test_samples = dataset.test().size;
  report.majority_rate = dataset.majority_rate(dataset.test());
  report.minority_rate = dataset.minority_rate(dataset.test());
  report.key_for_each_batch = request.keys == 0;
  report.test = evaluate_split(all[0], request, after_each_piece);
  if (request.with_train_split) report.train = evaluate_split(all[1], request, after_each_piece);
  stop.settle();
  if (request.with_valid_keys) add_saturation(report, request.keys);
  on_all_ranks(communicator_, [&] {
    if (communicator_.local_rank() == 0) dataset.require_unchanged();
  });
  return report;
}

Evaluator::Plan Evaluator::plan(const SplitWork& work, const EvaluationRequest& request) const {
  return {experiment_.config, work.samples(), evaluation_batch_on(experiment_.placement.device), request,
          keys_.correct_keys(request.keys)};
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
  const auto all_correct = request.keys == 0 ? keys : keys_.correct_keys(keys);
  const auto correct_keys = request.with_valid_keys ? all_correct : 0;
  std::vector<Series> all = {{1, [](std::int64_t, std::int64_t) { return Injection::none(); }},
                             {correct_keys, correct(1.0)}};
  for (const auto* family : request.families) all.push_back({keys, wrong(*family, 1.0)});
  for (const double norm : request.norms) {
    all.push_back({correct_keys, correct(norm)});
    all.push_back({keys, wrong(gaussian_family(), norm)});
  }
  return all;
}

SplitAccess Evaluator::evaluate_split(const SplitWork& work, const EvaluationRequest& request,
                                      const std::function<void()>& after_each_piece) const {
  const EvaluationMode mode(*experiment_.model);
  const auto plan = this->plan(work, request);
  SplitReader reader(experiment_, work.split, work.subset, work.augment);
  const auto all = series(plan.key_count(), request);
  // On a device the host does not wait for the counts before the end.
  const auto device = experiment_.placement.device;
  const auto samples = at::zeros({plan.series(), plan.key_count(), 1}, at::kLong);
  const auto counted =
      at::zeros({plan.series(), plan.key_count(), counts - 1}, at::TensorOptions(device).dtype(at::kLong));

  const int rank = communicator_.rank(), ranks = communicator_.size();
  const auto begin = plan.begin(rank, ranks), end = plan.begin(rank + 1, ranks);
  for (std::int64_t round = 0; round < plan.rounds(ranks); ++round, after_each_piece()) {
    if (begin + round >= end) continue;
    const auto piece = plan.piece(begin + round);
    const auto& rows = plan.rows(piece.rows);
    const auto answers = [&](const at::Tensor& x) {
      return experiment_.model->forward(x, all[piece.series].make(piece.key, rows.batch_rows));
    };
    const auto row = static_cast<std::int64_t>(piece.series);
    samples[row][piece.key].add_(rows.end - rows.begin);
    counted[row][piece.key].add_(measure(answers, reader, rows.begin, rows.end, experiment_.deny->reject));
  }
  auto table = at::cat({samples, counted.to(at::kCPU)}, 2);
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

double Evaluator::largest_logit() const {
  constexpr std::int64_t most_samples = 16;
  const EvaluationMode mode(*experiment_.model);
  const auto& dataset = *experiment_.dataset;
  std::vector<std::int64_t> indices(static_cast<std::size_t>(std::min(most_samples, dataset.test().size)));
  std::iota(indices.begin(), indices.end(), 0);
  at::Tensor x, labels;
  Assembler(dataset, dataset.test(), Augment::none, 0, Purpose::eval_augment)(indices, /*epoch=*/0, x, labels);
  const auto rows = static_cast<std::int64_t>(indices.size());
  const auto output =
      experiment_.model->forward(to_device(x, experiment_.placement.device), keys_.evaluation_correct(0, rows));
  return output.logits.to(at::kDouble).abs().max().item<double>();
}

// Saturation is a property of the keys alone, so every rank computes the same.
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
