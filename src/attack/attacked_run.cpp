#include "attack/attacked_run.h"

#include <utility>

#include "base/digest.h"
#include "spankey/models/named_tensor.h"

namespace spankey {

AttackedRun make_attacked_run(Experiment experiment, std::optional<Basis> basis, ImageSource source) {
  if (experiment.config.train.twin == Twin::vanilla)
    fail_key(experiment.config, "train.twin",
             "the vanilla twin has no keys to attack; accepted: none, noise, fixed_key");
  auto& model = *experiment.model;
  model.set_precision(Precision::float32);
  model.eval();
  for (const auto& parameter : model.parameters()) parameter.requires_grad_(false);
  auto digest = to_hex(weights_digest(model));
  AttackData data(experiment.dataset, source, static_cast<std::uint64_t>(experiment.config.run.seed));
  return {std::move(experiment), std::move(basis), std::move(digest), std::move(data)};
}

}  // namespace spankey
