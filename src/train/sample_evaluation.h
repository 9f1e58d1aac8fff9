// Says which figures a run writes, before anything has run.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "config/config.h"

namespace spankey {

// An evaluation as a run of this configuration writes it after an epoch, with made-up figures, and with "loss", "ce"
// and "deny" of a step.
nlohmann::json sample_evaluation(const Config& config);

}  // namespace spankey
