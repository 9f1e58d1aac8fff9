// One step of training, as the paper writes it (arXiv 2604.12254, sections on key injection and deny losses).
#pragma once

#include <cstdint>
#include <vector>

#include "config/config.h"
#include "data/loader.h"
#include "dist/reducer.h"
#include "spankey/deny.h"
#include "spankey/key_maker.h"
#include "spankey/model.h"
#include "train/cursor.h"
#include "train/optimizer.h"
#include "train/running_statistics.h"

namespace spankey {

// What a step works with; owned by the trainer.
struct StepParts {
  const Config& config;
  const DenyLoss& deny;
  const KeyMaker& keys;
  Model& model;
  FlatParameters& parameters;
  Reducer& reducer;
  Optimizer& optimizer;
  RunningStatistics& statistics;
  std::int64_t shards;                  // of the global batch
  std::int64_t first_shard, my_shards;  // this rank's block of them
};

// Numbers that travel with the gradients: loss, ce, deny and the wish to stop; then those of RunningStatistics.
inline constexpr std::int64_t step_slots = 4;

// Sums over the global batch divided by its size; the same on every rank.
struct StepFigures {
  double loss = 0.0, ce = 0.0, deny = 0.0;
  bool finite = true;           // loss and gradients; where false, the weights have not been touched
  bool stop_requested = false;  // by at least one rank
};

// `stop`: this rank has been asked to stop; it travels with the gradients, so that all ranks learn of it together.
StepFigures train_step(StepParts& parts, const Batch& batch, const Cursor& cursor, double lr, bool stop);

// What BatchNorm measures in one batch with the correct keys, summed over all shards (RunningStatistics::replace); no
// weight changes. Collective.
at::Tensor measure_statistics(StepParts& parts, const Batch& batch, const Cursor& cursor);

}  // namespace spankey
