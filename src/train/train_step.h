// One step of training, as the paper writes it (arXiv 2604.12254, sections on key injection and deny losses).
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "config/config.h"
#include "data/loader.h"
#include "data/sampler.h"
#include "dist/reducer.h"
#include "record/cursor.h"
#include "spankey/deny/deny.h"
#include "spankey/keys/key_maker.h"
#include "spankey/models/model.h"
#include "train/averaged_weights.h"
#include "train/optimizer.h"
#include "train/running_statistics.h"

namespace spankey {

// The objects that a step works with. The trainer owns them.
struct StepParts {
  const Config& config;
  const DenyLoss& deny;
  const KeyMaker& keys;
  Model& model;
  FlatParameters& parameters;
  Reducer& reducer;
  Optimizer& optimizer;
  RunningStatistics& statistics;
  AveragedWeights* average;             // nullptr without train.ema_decay
  std::int64_t classes;                 // of the data
  std::int64_t shards;                  // of the global batch
  std::int64_t first_shard, my_shards;  // this rank's block of them
  bool stack_passes;                    // true where all passes of a shard are one batch
  at::Tensor lr;                        // from rate_tensor(), on the device of the weights
  at::Tensor deny_weight;               // () float32 there, the weight of the deny loss in this step
};

// Numbers that are summed with the gradients. They are loss, ce, deny and the wish to stop, then those of
// RunningStatistics, then adversarial_slots().
enum StepSlot : std::int64_t { slot_loss, slot_ce, slot_deny, slot_stop, step_slots };

// Sums over the global batch divided by its size, the same on every rank.
struct StepFigures {
  std::int64_t samples = 0;  // of the global batch
  double loss = 0.0, ce = 0.0, deny = 0.0;
  bool finite = true;           // of loss and gradients. If false, train_step() has not changed the weights
  bool stop_requested = false;  // by at least one rank
};

// The inputs of one shard of a step, all on the device of the model. The mathematics below depends on them alone,
// whoever drew them.
struct ShardInputs {
  at::Tensor x;                  // (n, C, H, W) or (n, D)
  at::Tensor labels;             // (n) int64
  Injection correct;             // one key a row
  Injection wrong;               // one for all rows, ignored where denies_wrong_key() is false
  double global_batch;           // samples of all shards
  bool denies;                   // false without a deny loss, whose weight is StepParts::deny_weight
  at::Tensor drawn_labels = {};  // (n) int64, from draw_deny_labels(), undefined where draws_labels() is false
};

// Returns the weight of the deny loss in this epoch, 0 where there is none.
double deny_weight(const StepParts& parts, std::int64_t epoch);

// True where the deny loss of a step needs drawn labels.
bool draws_labels(const StepParts& parts, bool denies);

// True where a step denies a pass with a wrong key.
bool denies_wrong_key(const StepParts& parts, bool denies);

// Returns the passes that a step takes, in their order. `denies` says whether it has a deny loss.
std::vector<TrainPass> passes_taken(const StepParts& parts, bool denies);

// Makes the forward and backward passes of one shard, between begin and end of a shard of the reducer. Its losses and
// what BatchNorm measures go into the reducer's slots.
void train_shard(StepParts& parts, const ShardInputs& inputs);

// Calls `work` for each shard of this rank, one after the other, then sums over all ranks. `work` gets the range of the
// shard in the global batch of `samples`, which may be empty.
void for_each_shard(StepParts& parts, std::int64_t samples, const std::function<void(Range)>& work);

// Collective. Returns the wrong key of a step after deny.adversarial_steps, which move it so that the cross entropy of
// its pass falls, over the whole global batch at once. Every rank gets the same key. The key of each layer moves
// freely, also where all layers have drawn prefixes of one. No weight changes.
Injection adversarial_key(StepParts& parts, const Batch& batch, const Injection& wrong);

// Returns how many numbers the gradient of a wrong key adds to those of a step, 0 without deny.adversarial_steps.
// `widths` are those of the keys at each of key.layers.
std::int64_t adversarial_slots(const Config& config, const std::vector<std::int64_t>& widths);

// Returns what BatchNorm measured, summed over all shards. Undefined for a network without it.
at::Tensor statistics_slots(const StepParts& parts);

// `stop` says that this rank has been asked to stop. It is summed with the gradients, so that all ranks learn of it at
// the same step.
StepFigures train_step(StepParts& parts, const Batch& batch, const Cursor& cursor, double lr, bool stop);

// Collective. Returns what BatchNorm measures in one batch with the correct keys, summed over all shards (for
// RunningStatistics::replace). No weight changes.
at::Tensor measure_statistics(StepParts& parts, const Batch& batch, const Cursor& cursor);

}  // namespace spankey
