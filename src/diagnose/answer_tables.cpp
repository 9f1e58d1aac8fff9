#include "diagnose/answer_tables.h"

#include <ATen/ATen.h>

#include "diagnose/absorption.h"

namespace spankey {
namespace {

// Signs of the activations where keys enter and of the last features, (n, units) bool. They stand for the states of the
// rectifiers in front of them. They lie where the batch does, as the output does.
struct Observed {
  Output output;
  at::Tensor positive;
};

Observed observe(Model& model, const at::Tensor& x, const Injection& injection) {
  std::vector<at::Tensor> signs;
  const auto observed = injection.observed([&](std::int64_t point, const at::Tensor& before, const at::Tensor&) {
    if (point > 0) signs.push_back(before.gt(0).flatten(1).to(x.device()));  // point 0 is the input in some networks
  });
  Observed result{model.forward(x, observed), {}};
  signs.push_back(result.output.features.gt(0).flatten(1));
  result.positive = at::cat(signs, 1);
  return result;
}

void record(AccessTables& tables, const DiagnoseRun& run, const DiagnoseRun::Batch& batch, std::int64_t column,
            const Output& output) {
  const auto put = [&](at::Tensor& table, const at::Tensor& values) {
    table.narrow(0, batch.begin, batch.size()).select(1, column).copy_(values);
  };
  for (std::size_t v = 0; v < run.views().size(); ++v) {
    const auto& judge = run.views()[v].judge;
    put(tables.margins[v], judge.margin(judge.scores(output).to(at::kDouble), batch.labels));
  }
  const at::Tensor classes = run.views()[0].judge.scores(output).to(at::kDouble);
  const at::Tensor energy = classes.logsumexp(1);
  put(tables.max_probability, classes.softmax(1).amax(1));
  put(tables.energy, energy);
  const auto reject = run.experiment().deny->reject;
  if (reject == RejectKind::reject_class)
    put(tables.reject_log_odds, output.logits.select(1, classes.size(1)).to(at::kDouble) - energy);
  if (reject == RejectKind::reject_head) put(tables.reject_log_odds, output.reject.to(at::kDouble));
}

AccessTables empty_tables(const DiagnoseRun& run) {
  const std::int64_t n = run.samples(), columns = 1 + 2 * run.key_count();
  const auto table = [&](std::int64_t width) { return at::zeros({n, width}, at::kDouble); };
  AccessTables tables{.keys = run.key_count(),
                      .margins = {},
                      .max_probability = table(columns),
                      .energy = table(columns),
                      .reject_log_odds = table(run.experiment().deny->reject == RejectKind::none ? 0 : columns),
                      .divergence = table(2),
                      .disagreement = table(2),
                      .feature_energy = at::zeros({n}, at::kDouble),
                      .switched = at::zeros({n}, at::kDouble)};
  for (std::size_t v = 0; v < run.views().size(); ++v) tables.margins.push_back(table(columns));
  return tables;
}

// Asks the network about the samples of a batch without a key, with every valid key and with every wrong key.
void record_batch(AccessTables& tables, DiagnoseRun& run, const DiagnoseRun::Batch& batch) {
  const std::int64_t keys = run.key_count(), mine = batch.index % keys;
  const auto rows = [&](at::Tensor& t) { return t.narrow(0, batch.begin, batch.size()); };
  const auto plain = observe(run.model(), batch.x, Injection::none());
  record(tables, run, batch, 0, plain.output);
  Output chosen;
  for (std::int64_t i = 0; i < keys; ++i) {
    run.leave_if_asked();
    const auto output = run.model().forward(batch.x, run.space().injection(run.valid(i)));
    if (i == mine) chosen = output;
    record(tables, run, batch, 1 + i, output);
  }
  const auto drift = [&](std::int64_t column, const Output& output) {
    rows(tables.divergence).select(1, column).copy_(js_divergence(output.logits, chosen.logits));
    rows(tables.disagreement).select(1, column).copy_(output.logits.argmax(1).ne(chosen.logits.argmax(1)));
  };
  drift(0, plain.output);
  for (std::int64_t i = 0; i < keys; ++i) {
    run.leave_if_asked();
    const auto seen = observe(run.model(), batch.x, run.space().injection(run.wrong(i)));
    record(tables, run, batch, 1 + keys + i, seen.output);
    if (i != mine) continue;
    drift(1, seen.output);
    rows(tables.switched).copy_(seen.positive.ne(plain.positive).to(at::kDouble).mean(1));
    rows(tables.feature_energy).copy_(seen.output.features.to(at::kDouble).flatten(1).square().sum(1) + 1);
  }
}

}  // namespace

AccessTables measure_access(DiagnoseRun& run) {
  const at::NoGradGuard no_grad;
  auto tables = empty_tables(run);
  run.each_batch("answers with every key", [&](const DiagnoseRun::Batch& batch) { record_batch(tables, run, batch); });
  for (auto* t : {&tables.max_probability, &tables.energy, &tables.reject_log_odds, &tables.divergence,
                  &tables.disagreement, &tables.feature_energy, &tables.switched})
    if (t->numel() > 0) run.share(*t);
  for (auto& margins : tables.margins) run.share(margins);
  return tables;
}

}  // namespace spankey
