// The learning rate and the weight of the deny loss, which change as a run goes on.
#pragma once

#include <cstdint>

#include "config/config.h"

namespace spankey {

// A step of a run of `epochs` epochs of `steps` steps each. Both `epoch` and `step`, within the epoch, count from 0.
struct Place {
  std::int64_t epoch = 0, epochs = 1;
  std::int64_t step = 0, steps = 1;
};

// Returns the learning rate of a step. The values are those of torch.optim.lr_scheduler's MultiStepLR, StepLR and
// CosineAnnealingLR (T_max = epochs, to 0) when they are stepped once an epoch. Under `linear` the step number i of T
// in all has lr * min(1, (1 - i / T) / (1 - constant_fraction)), as LambdaLR would when it is stepped once a step. The
// first W = optim.warmup_steps steps have (i + 1) / W of what the schedule says.
double learning_rate(const OptimConfig& config, const Place& place);

// Returns weight * min(1, (epoch + 1) / warmup_epochs). The first epoch already has a share.
double deny_weight(const DenyConfig& config, std::int64_t epoch);

}  // namespace spankey
