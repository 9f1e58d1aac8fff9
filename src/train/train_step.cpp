#include "train/train_step.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "data/sampler.h"
#include "spankey/schedule.h"
#include "spankey/task_loss.h"

namespace spankey {
namespace {

// The slots that travel with the gradients.
enum Slot : std::int64_t { slot_loss, slot_ce, slot_deny, slot_stop };  // the first three are filled together
static_assert(slot_stop + 1 == step_slots);

struct Passes {
  Output correct, wrong, none;  // logits undefined where a pass was not taken
};

at::Tensor rows(const at::Tensor& t, std::int64_t begin, std::int64_t count) {
  return !t.defined() || count == t.size(0) ? t : t.narrow(0, begin, count);
}

Output rows(const Output& output, std::int64_t begin, std::int64_t count) {
  return {rows(output.logits, begin, count), rows(output.features, begin, count), rows(output.reject, begin, count)};
}

bool denies_no_key(const DenyConfig& config) {
  return std::find(config.on.begin(), config.on.end(), Pass::none) != config.on.end();
}

// All passes in the order correct, [no key], wrong: as one batch where samples do not meet inside the network, which
// is the same up to rounding, one after the other where they do (BatchNorm).
Passes forward_passes(StepParts& p, const at::Tensor& x, const Injection& correct, const Injection& wrong,
                      bool with_deny) {
  const bool with_none = denies_no_key(p.config.deny);
  const auto forward = [&](TrainPass pass, const Injection& injection) {
    p.statistics.begin_pass(pass);
    return p.model.forward(x, injection);
  };
  Passes passes;
  if (!with_deny || p.model.couples_samples()) {
    passes.correct = forward(TrainPass::correct, correct);
    if (with_deny && with_none) passes.none = forward(TrainPass::none, Injection::none());
    if (with_deny) passes.wrong = forward(TrainPass::wrong, wrong);
    return passes;
  }
  const auto n = x.size(0);
  std::vector<std::pair<Injection, std::int64_t>> parts{{correct, n}};
  if (with_none) parts.emplace_back(Injection::none(), n);
  parts.emplace_back(wrong, n);
  const auto count = static_cast<std::int64_t>(parts.size());
  const auto all = p.model.forward(at::cat(std::vector<at::Tensor>(parts.size(), x)), Injection::stack(parts));
  passes.correct = rows(all, 0, n);
  if (with_none) passes.none = rows(all, n, n);
  passes.wrong = rows(all, (count - 1) * n, n);
  return passes;
}

// Into slots that are zero; `deny` is undefined without a deny loss. On a device the losses stay there, for reading
// them would wait for it; on the CPU three numbers need no tensor operations.
void record_losses(at::Tensor extras, const at::Tensor& loss, const at::Tensor& ce, const at::Tensor& deny) {
  const at::Tensor losses[] = {loss, ce, deny};
  for (std::int64_t slot = slot_loss; slot <= slot_deny; ++slot) {
    const at::Tensor& value = losses[slot];
    if (!value.defined()) continue;
    if (extras.is_cpu())
      extras.mutable_data_ptr<double>()[slot] = value.item<double>();
    else
      extras[slot].copy_(value.detach());
  }
}

// Undefined for a network without BatchNorm.
at::Tensor statistics_slots(const StepParts& p) {
  const auto slots = p.statistics.slots();
  return slots == 0 ? at::Tensor() : p.reducer.extras().narrow(0, step_slots, slots);
}

// The part of the batch that is this shard's; what BatchNorm measures in it goes into the reducer's slots.
at::Tensor begin_shard(StepParts& p, const Batch& batch, Range shard) {
  p.statistics.begin_shard(statistics_slots(p),
                           static_cast<double>(shard.end - shard.begin) / static_cast<double>(batch.samples.size()));
  return rows(batch.x, shard.begin - batch.range.begin, shard.end - shard.begin);
}

// Forward and backward of one shard; leaves its losses in the reducer's slots.
void train_shard(StepParts& p, const Batch& batch, Range shard, const Cursor& cursor) {
  const auto global_batch = static_cast<double>(batch.samples.size());
  const auto x = begin_shard(p, batch, shard);
  const auto labels = rows(batch.labels, shard.begin - batch.range.begin, shard.end - shard.begin);
  const double weight = deny_weight(p.config.deny, cursor.epoch);
  const bool with_deny = p.deny.per_sample != nullptr && weight > 0.0;

  // keys
  const auto correct_key = p.keys.correct(cursor.epoch, cursor.step, batch.samples, shard.begin, shard.end);
  const auto wrong_key = with_deny ? p.keys.wrong(cursor.epoch, cursor.step, batch.samples) : Injection::none();

  // logits with the correct key, with the wrong key and without one
  const auto passes = forward_passes(p, x, correct_key, wrong_key, with_deny);

  // task loss
  const auto ce = task_loss(passes.correct.logits, labels, global_batch);
  at::Tensor loss = ce, deny;

  // deny loss
  if (with_deny) {
    deny = p.deny
               .per_sample({.correct = passes.correct,
                            .wrong = &passes.wrong,
                            .none = passes.none.logits.defined() ? &passes.none : nullptr,
                            .labels = labels,
                            .config = p.config.deny})
               .sum() /
           global_batch;
    loss = ce + weight * deny;
  }

  // backward; gradients leave in buckets as they fill
  record_losses(p.reducer.extras(), loss, ce, deny);
  loss.backward();
}

// This rank's shards one after the other, then the sum over all ranks.
template <class Work>
void for_each_shard(StepParts& p, const Batch& batch, Work&& work) {
  const auto samples = static_cast<std::int64_t>(batch.samples.size());
  for (std::int64_t i = 0; i < p.my_shards; ++i) {
    p.reducer.begin_shard(/*last=*/i + 1 == p.my_shards);
    work(shard_range(samples, p.shards, p.first_shard + i));
    p.reducer.end_shard();
  }
  p.reducer.finish();
}

}  // namespace

StepFigures train_step(StepParts& p, const Batch& batch, const Cursor& cursor, double lr, bool stop) {
  for_each_shard(p, batch, [&](Range shard) {
    if (stop) p.reducer.extras()[slot_stop] = 1.0;
    if (shard.end > shard.begin) train_shard(p, batch, shard, cursor);
  });

  const auto slots = p.reducer.extras().to(at::kCPU).contiguous();
  const auto* sums = slots.const_data_ptr<double>();
  StepFigures figures{
      .loss = sums[slot_loss], .ce = sums[slot_ce], .deny = sums[slot_deny], .stop_requested = sums[slot_stop] > 0.0};
  const bool finite = clip_gradients(p.parameters.gradients(), p.config.optim.clip_norm);
  figures.finite = finite && std::isfinite(figures.loss);
  if (figures.finite) {
    p.statistics.update(statistics_slots(p));
    p.optimizer.step(lr);
  }
  return figures;
}

at::Tensor measure_statistics(StepParts& p, const Batch& batch, const Cursor& cursor) {
  const at::NoGradGuard no_grad;
  for_each_shard(p, batch, [&](Range shard) {
    if (shard.end == shard.begin) return;
    const auto x = begin_shard(p, batch, shard);
    p.statistics.begin_pass(TrainPass::correct);
    p.model.forward(x, p.keys.correct(cursor.epoch, cursor.step, batch.samples, shard.begin, shard.end));
  });
  return statistics_slots(p).clone();
}

}  // namespace spankey
