#include "train/train_step.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "spankey/deny/feature_loss.h"
#include "spankey/deny/task_loss.h"
#include "spankey/keys/adversarial_key.h"
#include "train/schedule.h"

namespace spankey {
namespace {

// The outputs by TrainPass. Logits are undefined where a pass was not taken.
struct Passes {
  std::array<Output, 3> outputs;
  Output& operator[](TrainPass pass) { return outputs.at(static_cast<std::size_t>(pass)); }
};

at::Tensor rows(const at::Tensor& t, std::int64_t begin, std::int64_t count) {
  return !t.defined() || count == t.size(0) ? t : t.narrow(0, begin, count);
}

Output rows(const Output& output, std::int64_t begin, std::int64_t count) {
  return {rows(output.logits, begin, count), rows(output.features, begin, count), rows(output.reject, begin, count)};
}

Injection key_of(TrainPass pass, const ShardInputs& in) {
  if (pass == TrainPass::none) return Injection::none();
  return pass == TrainPass::correct ? in.correct : in.wrong;
}

// Takes all passes in the order correct, [no key], wrong. They are stacked, each with its own statistics, or taken one
// after the other. The two ways are the same up to rounding.
Passes forward_passes(StepParts& p, const ShardInputs& in) {
  const auto taken = passes_taken(p, in.denies);
  const auto n = in.x.size(0);
  Passes passes;
  if (!p.stack_passes || taken.size() == 1) {
    for (const auto pass : taken) {
      p.statistics.begin_pass(pass);
      passes[pass] = p.model.forward(in.x, key_of(pass, in));
    }
    return passes;
  }
  std::vector<std::pair<Injection, std::int64_t>> parts;
  for (const auto pass : taken) parts.emplace_back(key_of(pass, in), n);
  p.statistics.begin_passes(taken);
  const auto all = p.model.forward(at::cat(std::vector<at::Tensor>(taken.size(), in.x)), Injection::stack(parts));
  for (std::size_t i = 0; i < taken.size(); ++i) passes[taken[i]] = rows(all, static_cast<std::int64_t>(i) * n, n);
  return passes;
}

// Writes into slots that are zero. `deny` is undefined without a deny loss. On a device the losses stay there, because
// reading them would wait for it. On the CPU three numbers need no tensor operations.
void record_losses(const at::Tensor& extras, const at::Tensor& loss, const at::Tensor& ce, const at::Tensor& deny) {
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

// Writes what BatchNorm measures in a shard of `n` samples into the reducer's slots.
void measure_shard(StepParts& p, std::int64_t n, double global_batch) {
  p.statistics.begin_shard(statistics_slots(p), static_cast<double>(n) / global_batch);
}

bool is_denied(const StepParts& p, Pass pass) {
  const auto& on = p.config.deny.on;
  return std::find(on.begin(), on.end(), pass) != on.end();
}

// Returns the gradient of the mean cross entropy of the pass with the keys `keys` in place of those of `wrong`, summed
// over all shards, (1, d) for each key, on the CPU.
std::vector<at::Tensor> wrong_key_gradient(StepParts& p, const Batch& batch, const Injection& wrong,
                                           const std::vector<at::Tensor>& keys) {
  const auto samples = static_cast<std::int64_t>(batch.samples.size());
  const auto first = step_slots + p.statistics.slots();
  const auto slots = p.reducer.extras().narrow(0, first, p.reducer.extras().numel() - first);
  p.reducer.sum_gradients(false);
  for_each_shard(p, samples, [&](Range shard) {
    const auto begin = shard.begin - batch.range.begin, count = shard.end - shard.begin;
    if (count == 0) return;
    std::vector<at::Tensor> leaves, flat;
    for (const auto& key : keys) leaves.push_back(key.detach().requires_grad_());
    measure_shard(p, count, static_cast<double>(samples));
    p.statistics.begin_pass(TrainPass::wrong);
    const auto logits = p.model.forward(rows(batch.x, begin, count), wrong.with_keys(leaves)).logits;
    const auto loss = task_loss(logits, rows(batch.labels, begin, count), static_cast<double>(samples));
    for (const auto& gradient : torch::autograd::grad({loss}, leaves)) flat.push_back(gradient.flatten());
    slots.copy_(at::cat(flat));
  });
  p.reducer.sum_gradients(true);
  std::vector<at::Tensor> gradients;
  std::int64_t begin = 0;
  for (const auto& key : keys) {
    gradients.push_back(slots.narrow(0, begin, key.numel()).to(at::kCPU, key.scalar_type(), false, /*copy=*/true));
    gradients.back() = gradients.back().view_as(key);
    begin += key.numel();
  }
  return gradients;
}

// Returns the drawn labels of the rows of a shard, on the device of the network.
at::Tensor drawn_labels(const StepParts& p, const Batch& batch, const Cursor& cursor, Range shard) {
  const std::vector<std::int64_t> samples(batch.samples.begin() + shard.begin, batch.samples.begin() + shard.end);
  return draw_deny_labels(at::tensor(samples, at::kLong), at::tensor({cursor.epoch, cursor.step}, at::kLong), p.classes,
                          static_cast<std::uint64_t>(p.config.run.seed))
      .to(batch.labels.device());
}

}  // namespace

bool draws_labels(const StepParts& p, bool denies) {
  return denies && p.deny.draws_labels;
}

bool denies_wrong_key(const StepParts& p, bool denies) {
  return denies && is_denied(p, Pass::wrong);
}

double deny_weight(const StepParts& p, std::int64_t epoch) {
  return p.deny.per_sample != nullptr ? deny_weight(p.config.deny, epoch) : 0.0;
}

std::vector<TrainPass> passes_taken(const StepParts& p, bool denies) {
  std::vector<TrainPass> passes{TrainPass::correct};
  if (denies && is_denied(p, Pass::none)) passes.push_back(TrainPass::none);
  if (denies_wrong_key(p, denies)) passes.push_back(TrainPass::wrong);
  return passes;
}

std::int64_t adversarial_slots(const Config& config, const std::vector<std::int64_t>& widths) {
  return config.deny.adversarial_steps > 0 ? std::accumulate(widths.begin(), widths.end(), std::int64_t{0}) : 0;
}

Injection adversarial_key(StepParts& p, const Batch& batch, const Injection& wrong) {
  const auto& config = p.config;
  std::vector<at::Tensor> keys;
  for (const auto layer : config.key.layers) keys.push_back(wrong.keys_at(layer));
  return wrong.with_keys(sign_descent(std::move(keys), config.deny.adversarial_steps, config.deny.adversarial_lr,
                                      [&](const auto& moved) { return wrong_key_gradient(p, batch, wrong, moved); }));
}

at::Tensor statistics_slots(const StepParts& p) {
  const auto slots = p.statistics.slots();
  return slots == 0 ? at::Tensor() : p.reducer.extras().narrow(0, step_slots, slots);
}

void for_each_shard(StepParts& p, std::int64_t samples, const std::function<void(Range)>& work) {
  for (std::int64_t i = 0; i < p.my_shards; ++i) {
    p.reducer.begin_shard(/*last=*/i + 1 == p.my_shards);
    work(shard_range(samples, p.shards, p.first_shard + i));
    p.reducer.end_shard();
  }
  p.reducer.finish();
}

void train_shard(StepParts& p, const ShardInputs& in) {
  measure_shard(p, in.x.size(0), in.global_batch);

  // logits with the correct key, with the wrong key and without one
  auto passes = forward_passes(p, in);

  // task loss
  const auto ce = task_loss(passes[TrainPass::correct].logits, in.labels, in.global_batch,
                            {.share = p.config.train.label_smoothing, .classes = p.classes});
  at::Tensor loss = ce, deny;

  // deny loss
  if (in.denies) {
    const auto& wrong = passes[TrainPass::wrong];
    const auto& none = passes[TrainPass::none];
    const DenyInputs denied{.correct = passes[TrainPass::correct],
                            .wrong = wrong.logits.defined() ? &wrong : nullptr,
                            .none = none.logits.defined() ? &none : nullptr,
                            .labels = in.labels,
                            .config = p.config.deny,
                            .drawn_labels = in.drawn_labels};
    at::Tensor each = p.deny.per_sample(denied);
    if (denied.config.feature_weight > 0.0) each = each + denied.config.feature_weight * feature_loss(denied);
    deny = each.sum() / in.global_batch;
    loss = ce + p.deny_weight * deny;
  }

  // backward. Gradients leave in buckets as they fill, or at its end (dist.overlap)
  record_losses(p.reducer.extras(), loss, ce, deny);
  p.reducer.send_extras();
  loss.backward();
}

StepFigures train_step(StepParts& p, const Batch& batch, const Cursor& cursor, double lr, bool stop) {
  const auto samples = static_cast<std::int64_t>(batch.samples.size());
  const double weight = deny_weight(p, cursor.epoch);
  const bool denies = weight > 0.0;
  p.deny_weight.fill_(weight);
  const auto correct = p.keys.correct(cursor.epoch, cursor.step, batch.samples);
  auto wrong = denies_wrong_key(p, denies) ? p.keys.wrong(cursor.epoch, cursor.step, batch.samples) : Injection::none();
  if (denies_wrong_key(p, denies) && p.config.deny.adversarial_steps > 0) wrong = adversarial_key(p, batch, wrong);
  for_each_shard(p, samples, [&](Range shard) {
    if (stop) p.reducer.extras()[slot_stop] = 1.0;
    const auto begin = shard.begin - batch.range.begin, count = shard.end - shard.begin;
    if (count == 0) return p.reducer.send_extras();
    train_shard(p, {.x = rows(batch.x, begin, count),
                    .labels = rows(batch.labels, begin, count),
                    .correct = correct(shard.begin, shard.end),
                    .wrong = wrong,
                    .global_batch = static_cast<double>(samples),
                    .denies = denies,
                    .drawn_labels = draws_labels(p, denies) ? drawn_labels(p, batch, cursor, shard) : at::Tensor()});
  });

  const auto slots = p.reducer.extras().to(at::kCPU).contiguous();
  const auto* sums = slots.const_data_ptr<double>();
  StepFigures figures{.samples = samples,
                      .loss = sums[slot_loss],
                      .ce = sums[slot_ce],
                      .deny = sums[slot_deny],
                      .stop_requested = sums[slot_stop] > 0.0};
  const bool finite = clip_gradients(p.parameters.gradients(), p.config.optim.clip_norm);
  figures.finite = finite && std::isfinite(figures.loss);
  if (figures.finite) {
    p.statistics.update(statistics_slots(p), passes_taken(p, denies));
    p.lr.fill_(lr);
    p.optimizer.step(p.lr);
    if (p.average) p.average->update();
  }
  return figures;
}

at::Tensor measure_statistics(StepParts& p, const Batch& batch, const Cursor& cursor) {
  const at::NoGradGuard no_grad;
  const auto samples = static_cast<std::int64_t>(batch.samples.size());
  const auto correct = p.keys.correct(cursor.epoch, cursor.step, batch.samples);
  for_each_shard(p, samples, [&](Range shard) {
    const auto count = shard.end - shard.begin;
    if (count == 0) return;
    measure_shard(p, count, static_cast<double>(samples));
    p.statistics.begin_pass(TrainPass::correct);
    p.model.forward(rows(batch.x, shard.begin - batch.range.begin, count), correct(shard.begin, shard.end));
  });
  return statistics_slots(p).clone();
}

}  // namespace spankey
