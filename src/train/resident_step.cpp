#include "train/resident_step.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "data/assembler.h"
#include "spankey/deny/deny.h"

namespace spankey {
namespace {

// The columns of the ring are those of StepSlot, then a value that is finite where the gradients are.
constexpr std::int64_t column_check = step_slots, columns = column_check + 1;

}  // namespace

bool wants_resident(const Experiment& experiment) {
  const auto capture = experiment.config.train.capture;
  return capture == Capture::on || (capture == Capture::auto_ && !experiment.placement.device.is_cpu());
}

std::optional<std::string> resident_why_not(const Experiment& experiment, const Communicator& communicator) {
  if (communicator.size() > 1 && experiment.config.model.sync_batchnorm)
    return "model.sync_batchnorm = true communicates inside of the network";
  if (communicator.size() > 1 && !experiment.placement.device.is_cpu() && !communicator.stream_ordered())
    return "gradients travel through the host's memory (ranks share a GPU, or dist.backend = \"mpi\")";
  if (experiment.retired) return "keys of a retired basis are drawn on the host";
  return why_keys_on_host(experiment.config);
}

void require_capture(const Experiment& experiment, const Communicator& communicator) {
  if (experiment.config.train.capture != Capture::on) return;
  if (const auto why_not = resident_why_not(experiment, communicator))
    fail_key(experiment.config, "train.capture", *why_not + "; accepted: auto, off");
}

ResidentSource make_resident_source(const Experiment& experiment, const KeyMaker& keys) {
  const auto& config = experiment.config;
  const auto seed = static_cast<std::uint64_t>(config.run.seed);
  const auto device = experiment.placement.device;
  const Assembler data(*experiment.dataset, experiment.dataset->train(), config.data.augment, seed, Purpose::augment,
                       config.data.rotation, device);
  return {
      .assemble = [data, channels_last = !device.is_cpu()](
                      const at::Tensor& samples,
                      const at::Tensor& position) { return data(samples, position, channels_last); },
      .correct = [&keys](const at::Tensor& samples,
                         const at::Tensor& position) { return keys.correct(samples, position); },
      .wrong = [&keys](const at::Tensor& samples, const at::Tensor& position) { return keys.wrong(samples, position); },
      .drawn_labels = [classes = experiment.dataset->info().classes, seed](
                          const at::Tensor& samples,
                          const at::Tensor& position) { return draw_deny_labels(samples, position, classes, seed); }};
}

void CapturedWork::run(const Constants& constants, const std::function<void()>& work) {
  if (constants != constants_) {
    constants_ = constants;
    eager_steps_ = 0;
    captured_ = false;
  }
  if (!captured_ && eager_steps_ < eager_steps_before_capture) {
    graph_->use(work);
    ++eager_steps_;
    return;
  }
  if (!captured_) graph_->capture(work);
  captured_ = true;
  graph_->replay();
}

ResidentStep::ResidentStep(std::unique_ptr<TrainingParts> parts, ResidentSource source,
                           std::unique_ptr<DeviceGraph> graph, Communicator& communicator)
    : Stepper(std::move(parts), communicator),
      step_parts_(parts_->step_parts()),
      sampler_(parts_->sampler()),
      source_(std::move(source)),
      work_(std::move(graph)) {
  batch_ = static_cast<std::int64_t>(sampler_.global_batch(0, 0).size());
  const auto steps = sampler_.steps_per_epoch();
  epoch_samples_ = (steps - 1) * batch_ + static_cast<std::int64_t>(sampler_.global_batch(0, steps - 1).size());
  const auto device = step_parts_.parameters.weights().device();
  const auto integers = at::TensorOptions(device).dtype(at::kLong);
  position_ = at::zeros({2}, integers);
  order_ = at::zeros({epoch_samples_}, integers);
  rows_ = at::arange(batch_, integers);
  ring_ = at::zeros({ring_rows, columns}, at::TensorOptions(device).dtype(at::kDouble));
  row_ = at::zeros({1}, integers);
  wish_ = at::zeros({}, ring_.options());
}

std::vector<StepFigures> ResidentStep::step(const Cursor& cursor, double lr, const StopWish& wants_stop) {
  begin_step(cursor);
  if (const bool wish = wants_stop(); std::exchange(wishes_, wish) != wish)
    work_.run_uncaptured([&] { wish_.fill_(wish ? 1.0 : 0.0); });
  launch(cursor, lr);
  if (!due({cursor.epoch, cursor.step + 1, cursor.global_step + 1})) return {};
  return collect();
}

// Reading waits for the device. It happens only now and then, always before anything is saved, and at the same steps on
// every rank.
bool ResidentStep::due(const Cursor& after) const {
  const auto& config = step_parts_.config;
  const auto at_a_multiple = [&](std::int64_t every) { return every > 0 && after.global_step % every == 0; };
  return at_a_multiple(metrics_every_steps) || at_a_multiple(config.checkpoint.every_steps) ||
         at_a_multiple(config.dist.audit_every_steps) || after.step == sampler_.steps_per_epoch();
}

void ResidentStep::launch(const Cursor& cursor, double lr) {
  SPANKEY_CHECK_LT(std::ssize(unread_), ring_rows);
  if (next_ != std::pair(cursor.epoch, cursor.step)) work_.run_uncaptured([&] { move_to(cursor); });
  if (lr != lr_) work_.run_uncaptured([&] { step_parts_.lr.fill_(lr); });
  lr_ = lr;
  const auto samples = std::min(batch_, epoch_samples_ - cursor.step * batch_);
  const double weight = deny_weight(step_parts_, cursor.epoch);
  if (weight != deny_weight_) work_.run_uncaptured([&] { step_parts_.deny_weight.fill_(weight); });
  deny_weight_ = weight;
  const bool denies = weight > 0.0;
  const auto work = [this, samples, denies] { take(samples, denies); };
  samples == batch_ ? work_.run({samples, denies}, work) : work_.run_uncaptured(work);
  next_ = {cursor.epoch, cursor.step + 1};
  unread_.push_back(samples);
}

// Called once an epoch, and at the beginning of a run.
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

// Takes one step as train_step() does. Nothing in here may wait for a number from the device.
void ResidentStep::take(std::int64_t samples, bool denies) {
  auto& p = step_parts_;
  const auto place = rows_.narrow(0, 0, samples) + position_.narrow(0, 1, 1) * batch_;
  const auto batch = order_.index_select(0, place);
  const auto correct = source_.correct(batch, position_);
  const auto wrong = denies_wrong_key(p, denies) ? source_.wrong(batch, position_) : Injection::none();
  for_each_shard(p, samples, [&](Range shard) {
    p.reducer.extras()[slot_stop].copy_(wish_);
    if (shard.end == shard.begin) return p.reducer.send_extras();
    const auto mine = batch.narrow(0, shard.begin, shard.end - shard.begin);
    const auto [x, labels] = source_.assemble(mine, position_);
    train_shard(p, {.x = x,
                    .labels = labels,
                    .correct = correct(shard.begin, shard.end),
                    .wrong = wrong,
                    .global_batch = static_cast<double>(samples),
                    .denies = denies,
                    .drawn_labels = draws_labels(p, denies) ? source_.drawn_labels(mine, position_) : at::Tensor()});
  });

  const auto check = clip_in_place(p.parameters.gradients(), p.config.optim.clip_norm);
  p.statistics.update(statistics_slots(p), passes_taken(p, denies));
  p.optimizer.step(p.lr);
  if (p.average) p.average->update();

  const auto losses = p.reducer.extras().narrow(0, 0, column_check);
  ring_.index_copy_(0, row_, at::cat({losses, check.view({1})}).view({1, columns}));
  row_.add_(1).remainder_(ring_rows);
  position_.narrow(0, 1, 1).add_(1);
}

std::vector<StepFigures> ResidentStep::collect() {
  at::Tensor ring;
  work_.run_uncaptured([&] { ring = ring_.to(at::kCPU, /*non_blocking=*/false, /*copy=*/true); });
  std::vector<StepFigures> figures;
  for (const auto samples : std::exchange(unread_, {})) {
    const double* row = ring.const_data_ptr<double>() + first_row_ * columns;
    figures.push_back({.samples = samples,
                       .loss = row[slot_loss],
                       .ce = row[slot_ce],
                       .deny = row[slot_deny],
                       .finite = std::isfinite(row[slot_loss]) && std::isfinite(row[column_check]),
                       .stop_requested = row[slot_stop] > 0.0});
    first_row_ = (first_row_ + 1) % ring_rows;
  }
  return figures;
}

}  // namespace spankey
