#include "diagnose/law_keys.h"

#include <ATen/ATen.h>

namespace spankey {
namespace {

// The ranks share the keys. Their numbers begin behind those of the keys that the network is tried with.
std::vector<at::Tensor> over_keys(DiagnoseRun& run, const std::function<Injection(std::int64_t)>& draw,
                                  const KeyMeasure& measure, const KeyColumns& columns) {
  std::vector<at::Tensor> tables;
  for (const auto& slot : run.space().slots()) tables.push_back(at::zeros({law_keys, columns(slot)}, at::kDouble));
  run.each(law_keys, [&](std::int64_t i) {
    const auto keys = run.space().keys_of(draw(run.key_count() + i));
    for (std::size_t s = 0; s < keys.size(); ++s) tables[s][i].copy_(measure(keys[s], run.space().slots()[s]));
  });
  for (auto& table : tables) run.share(table);
  return tables;
}

}  // namespace

std::vector<at::Tensor> over_valid_keys(DiagnoseRun& run, const KeyMeasure& measure, const KeyColumns& columns) {
  const auto draw = [&](std::int64_t i) { return run.keys().evaluation_correct(i, run.config().train.global_batch); };
  return over_keys(run, draw, measure, columns);
}

std::vector<at::Tensor> over_wrong_keys(DiagnoseRun& run, const KeyMeasure& measure, const KeyColumns& columns) {
  const auto draw = [&](std::int64_t i) { return run.keys().evaluation_wrong(i, run.config().train.global_batch); };
  return over_keys(run, draw, measure, columns);
}

}  // namespace spankey
