// The learning rate and the weight of the deny loss, which change from epoch to epoch.
#pragma once

#include <cstdint>

#include "config/config.h"

namespace spankey {

// Returns the learning rate of `epoch` (from 0) of `epochs`. The values are those of torch.optim.lr_scheduler's
// MultiStepLR, StepLR and CosineAnnealingLR (T_max = epochs, to 0) when they are stepped once an epoch.
double learning_rate(const OptimConfig& config, std::int64_t epochs, std::int64_t epoch);

// Returns weight * min(1, (epoch + 1) / warmup_epochs). The first epoch already has a share.
double deny_weight(const DenyConfig& config, std::int64_t epoch);

}  // namespace spankey
