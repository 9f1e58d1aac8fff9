// What changes from epoch to epoch: the learning rate and the weight of the deny loss.
#pragma once

#include <cstdint>

#include "config/config.h"

namespace spankey {

// Learning rate of `epoch` (from 0) of `epochs`, as torch.optim.lr_scheduler's MultiStepLR, StepLR and
// CosineAnnealingLR (T_max = epochs, to 0) give it when they are stepped once an epoch.
double learning_rate(const OptimConfig& config, std::int64_t epochs, std::int64_t epoch);

// weight * min(1, (epoch + 1) / warmup_epochs): the first epoch already has a share.
double deny_weight(const DenyConfig& config, std::int64_t epoch);

}  // namespace spankey
