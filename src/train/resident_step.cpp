#include "train/resident_step.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace spankey {
namespace {

// Columns of the ring: loss, ce and deny as in StepSlot, then what is finite where the gradients are.
constexpr std::int64_t column_check = slot_stop, columns = column_check + 1;

}  // namespace

ResidentStep::ResidentStep(StepParts& parts, const Sampler& sampler, ResidentSource source,
                           std::unique_ptr<DeviceGraph> graph)
    : parts_(parts), sampler_(sampler), source_(std::move(source)), work_(std::move(graph)) {
  batch_ = static_cast<std::int64_t>(sampler_.global_batch(0, 0).size());
  const auto steps = sampler_.steps_per_epoch();
  epoch_samples_ = (steps - 1) * batch_ + static_cast<std::int64_t>(sampler_.global_batch(0, steps - 1).size());
  const auto device = parts_.parameters.weights().device();
  const auto integers = at::TensorOptions(device).dtype(at::kLong);
  position_ = at::zeros({2}, integers);
  order_ = at::zeros({epoch_samples_}, integers);
  rows_ = at::arange(batch_, integers);
  ring_ = at::zeros({ring_rows, columns}, at::TensorOptions(device).dtype(at::kDouble));
  row_ = at::zeros({1}, integers);
}

std::int64_t ResidentStep::step(const Cursor& cursor, double lr) {
  SPANKEY_CHECK_LT(pending_, ring_rows);
  if (next_ != std::pair(cursor.epoch, cursor.step)) work_.run_uncaptured([&] { move_to(cursor); });
  if (lr != lr_) work_.run_uncaptured([&] { parts_.lr.fill_(lr); });
  lr_ = lr;
  const auto samples = std::min(batch_, epoch_samples_ - cursor.step * batch_);
  const double weight = deny_weight(parts_, cursor.epoch);
  const auto work = [this, samples, weight] { take(samples, weight); };
  samples == batch_ ? work_.run({samples, weight}, work) : work_.run_uncaptured(work);
  next_ = {cursor.epoch, cursor.step + 1};
  ++pending_;
  return samples;
}

// Once an epoch, and at the begin of a run.
void ResidentStep::move_to(const Cursor& cursor) {
  if (!next_ || next_->first != cursor.epoch) {
    const auto order = at::empty({epoch_samples_}, at::kLong);
    auto* to = order.mutable_data_ptr<std::int64_t>();
    for (std::int64_t step = 0; step < sampler_.steps_per_epoch(); ++step) {
      const auto samples = sampler_.global_batch(cursor.epoch, step);
      to = std::copy(samples.begin(), samples.end(), to);
    }
    order_.copy_(order);
  }
  position_.copy_(at::tensor({cursor.epoch, cursor.step}, at::kLong));
}

// One step, as train_step() takes it. Nothing in here may ask the device for a number.
void ResidentStep::take(std::int64_t samples, double weight) {
  auto& p = parts_;
  const auto place = rows_.narrow(0, 0, samples) + position_.narrow(0, 1, 1) * batch_;
  const auto batch = order_.index_select(0, place);
  const auto correct = source_.correct(batch, position_);
  const auto wrong = weight > 0.0 ? source_.wrong(batch, position_) : Injection::none();
  for_each_shard(p, samples, [&](Range shard) {
    if (shard.end == shard.begin) return;
    const auto mine = batch.narrow(0, shard.begin, shard.end - shard.begin);
    const auto [x, labels] = source_.assemble(mine, position_);
    train_shard(p, {.x = x,
                    .labels = labels,
                    .correct = correct(shard.begin, shard.end),
                    .wrong = wrong,
                    .global_batch = static_cast<double>(samples),
                    .deny_weight = weight,
                    .drawn_labels = draws_labels(p, weight) ? source_.drawn_labels(mine, position_) : at::Tensor()});
  });

  const auto check = clip_in_place(p.parameters.gradients(), p.config.optim.clip_norm);
  p.statistics.update(statistics_slots(p), passes_taken(p, weight));
  p.optimizer.step(p.lr);

  const auto losses = p.reducer.extras().narrow(0, 0, column_check);
  ring_.index_copy_(0, row_, at::cat({losses, check.view({1})}).view({1, columns}));
  row_.add_(1).remainder_(ring_rows);
  position_.narrow(0, 1, 1).add_(1);
}

std::vector<StepFigures> ResidentStep::collect() {
  at::Tensor ring;
  work_.run_uncaptured([&] { ring = ring_.to(at::kCPU, /*non_blocking=*/false, /*copy=*/true); });
  std::vector<StepFigures> figures;
  for (; pending_ > 0; --pending_) {
    const double* row = ring.const_data_ptr<double>() + first_row_ * columns;
    figures.push_back({.loss = row[slot_loss],
                       .ce = row[slot_ce],
                       .deny = row[slot_deny],
                       .finite = std::isfinite(row[slot_loss]) && std::isfinite(row[column_check])});
    first_row_ = (first_row_ + 1) % ring_rows;
  }
  return figures;
}

}  // namespace spankey
