// One step of training, as the paper writes it (arXiv 2604.12254, sections on key injection and deny losses).
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "config/config.h"
#include "data/loader.h"
#include "data/sampler.h"
#include "dist/reducer.h"
#include "spankey/deny/deny.h"
#include "spankey/keys/key_maker.h"
#include "spankey/models/model.h"
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
  std::int64_t classes;                 // of the data
  std::int64_t shards;                  // of the global batch
  std::int64_t first_shard, my_shards;  // this rank's block of them
  bool stack_passes;                    // all passes of a shard as one batch
  at::Tensor lr;                        // rate_tensor() where the weights are
};

// Numbers that travel with the gradients: loss, ce, deny and the wish to stop; then those of RunningStatistics.
enum StepSlot : std::int64_t { slot_loss, slot_ce, slot_deny, slot_stop, step_slots };

// Sums over the global batch divided by its size; the same on every rank.
struct StepFigures {
  std::int64_t samples = 0;  // of the global batch
  double loss = 0.0, ce = 0.0, deny = 0.0;
  bool finite = true;           // loss and gradients; where false, train_step() has not touched the weights
  bool stop_requested = false;  // by at least one rank
};

// One shard of a step, all on the device of the model: what the maths below is a function of, whoever drew it.
struct ShardInputs {
  at::Tensor x;                  // (n, C, H, W) or (n, D)
  at::Tensor labels;             // (n) int64
  Injection correct;             // one key a row
  Injection wrong;               // one for all rows; not looked at where deny_weight is 0
  double global_batch;           // samples of all shards
  double deny_weight;            // 0: without a deny loss
  at::Tensor drawn_labels = {};  // (n) int64, of draw_deny_labels(); undefined where draws_labels() is false
};

// Of the deny loss in this epoch; 0 where there is none.
double deny_weight(const StepParts& parts, std::int64_t epoch);

// Whether the deny loss of a step asks for drawn labels.
bool draws_labels(const StepParts& parts, double deny_weight);

// The passes that a step takes, in their order.
std::vector<TrainPass> passes_taken(const StepParts& parts, double deny_weight);

// Forward and backward of one shard, between begin and end of a shard of the reducer; its losses and what BatchNorm
// measures go into the reducer's slots.
void train_shard(StepParts& parts, const ShardInputs& inputs);

// `work` for each shard of this rank, one after the other (their ranges in the global batch of `samples`; a range may
// be empty), then the sum over all ranks.
void for_each_shard(StepParts& parts, std::int64_t samples, const std::function<void(Range)>& work);

// What BatchNorm measured, summed over all shards; undefined for a network without it.
at::Tensor statistics_slots(const StepParts& parts);

// `stop`: this rank has been asked to stop; it travels with the gradients, so that all ranks learn of it together.
StepFigures train_step(StepParts& parts, const Batch& batch, const Cursor& cursor, double lr, bool stop);

// What BatchNorm measures in one batch with the correct keys, summed over all shards (RunningStatistics::replace); no
// weight changes. Collective.
at::Tensor measure_statistics(StepParts& parts, const Batch& batch, const Cursor& cursor);

}  // namespace spankey
