// A run that was never trained: every section of a diagnosis has something to measure.
#pragma once

#include <string>

#include "support/mode_b.h"
#include "train/coordinator.h"
#include "train/loaded_run.h"

namespace spankey::test {

inline constexpr const char* added_keys = "[key]\nlayers=[1,2]\ninject='add'\ngamma=0.3\nlayout='per_layer'\n";

// `more` follows the table [train] of a configuration with the built-in data.
inline LoadedRun untrained(const std::string& more) {
  auto experiment = make_experiment(parse_config("[train]\nepochs = 1\n" + more, "test"));
  auto basis = make_basis(experiment.config.key, experiment.key_dims, 42);
  return {std::move(experiment), std::move(basis), {1, 0, 32}};
}

}  // namespace spankey::test
