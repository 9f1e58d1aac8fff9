#include "train/training_parts.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include "train/resources.h"

namespace spankey {
namespace {

std::vector<std::pair<std::string, at::Tensor>> to_pairs(const std::vector<NamedTensor>& tensors) {
  std::vector<std::pair<std::string, at::Tensor>> pairs;
  for (const auto& [name, value] : tensors) pairs.emplace_back(name, value);
  return pairs;
}

// False for a small batch, which is made in less time than it takes to wake the helper thread.
bool worth_prefetching(const Experiment& experiment, const Communicator& communicator) {
  constexpr std::int64_t least_elements = 1 << 15;
  const auto samples = experiment.config.train.global_batch / communicator.size();
  return samples * experiment.dataset->info().sample_size() >= least_elements;
}

Sampler sampler_of(const Experiment& experiment) {
  const auto& train = experiment.config.train;
  const auto seed = static_cast<std::uint64_t>(experiment.config.run.seed);
  if (experiment.train_subset.empty()) return {experiment.train_samples(), train.global_batch, train.drop_last, seed};
  return {experiment.train_subset, train.global_batch, train.drop_last, seed};
}

std::unique_ptr<AveragedWeights> make_average(const Experiment& experiment, const FlatParameters& parameters) {
  const double decay = experiment.config.train.ema_decay;
  return decay > 0.0 ? std::make_unique<AveragedWeights>(decay, parameters, *experiment.model) : nullptr;
}

}  // namespace

TrainingParts::TrainingParts(const Experiment& experiment, const Basis& basis, std::int64_t shards,
                             Communicator& communicator)
    : device_(experiment.placement.device),
      keys_(experiment.config, basis, device_, experiment.retired.get()),
      parameters_(to_pairs(named_parameters(*experiment.model))),
      statistics_(*experiment.model, experiment.config.model.batchnorm, experiment.deny->per_sample != nullptr,
                  experiment.config.model.sync_batchnorm && communicator.size() > 1 ? &communicator : nullptr),
      reducer_(parameters_, communicator,
               {.reduction = experiment.config.dist.reduction,
                .shards = shards,
                .bucket_bytes = experiment.config.dist.bucket_bytes,
                .extra = step_slots + statistics_.slots() + adversarial_slots(experiment.config, experiment.key_dims),
                .overlap = resolve_overlap(experiment.config.dist.overlap, communicator.topology(),
                                           communicator.stream_ordered(), cores_of_rank(communicator.node_size()),
                                           at::get_num_threads())}),
      optimizer_(make_optimizer(experiment.config, parameters_.weights(), parameters_.gradients())),
      average_(make_average(experiment, parameters_)),
      step_parts_{.config = experiment.config,
                  .deny = *experiment.deny,
                  .keys = keys_,
                  .model = *experiment.model,
                  .parameters = parameters_,
                  .reducer = reducer_,
                  .optimizer = *optimizer_,
                  .statistics = statistics_,
                  .average = average_.get(),
                  .classes = experiment.dataset->info().classes,
                  .shards = shards,
                  .first_shard = shards / communicator.size() * communicator.rank(),
                  .my_shards = shards / communicator.size(),
                  // Where samples depend on each other (BatchNorm), a CPU has as much to do with one batch as with
                  // several.
                  .stack_passes = !experiment.model->couples_samples() || !device_.is_cpu(),
                  .lr = rate_tensor(experiment.config.optim.lr, device_),
                  .deny_weight = at::zeros({}, at::TensorOptions(device_).dtype(at::kFloat))},
      sampler_(sampler_of(experiment)),
      steps_per_epoch_(sampler_.steps_per_epoch()),
      loader_(experiment.dataset, sampler_,
              Assembler(*experiment.dataset, experiment.dataset->train(), experiment.config.data.augment,
                        static_cast<std::uint64_t>(experiment.config.run.seed), Purpose::augment,
                        experiment.config.data.rotation),
              shards, step_parts_.first_shard, step_parts_.my_shards, worth_prefetching(experiment, communicator)) {}

Batch TrainingParts::load(std::int64_t epoch, std::int64_t step) {
  auto batch = loader_.load(epoch, step);
  batch.x = to_device(batch.x, device_);
  batch.labels = to_device(batch.labels, device_);
  return batch;
}

void TrainingParts::recalibrate(std::int64_t epoch, const std::function<void()>& after_each_batch) {
  if (statistics_.slots() == 0) return;
  const WithAveragedWeights published(average_.get());
  at::Tensor sums;
  reducer_.sum_gradients(false);  // there are no gradients
  for (std::int64_t i = 0; i < recalibration_batches; ++i) {
    const Cursor place{.epoch = epoch + i / steps_per_epoch_, .step = i % steps_per_epoch_, .global_step = 0};
    const auto measured = measure_statistics(step_parts_, load(place.epoch, place.step), place);
    sums = sums.defined() ? sums.add_(measured) : measured;
    after_each_batch();
  }
  reducer_.sum_gradients(true);
  statistics_.replace(sums);
}

std::vector<NamedTensor> TrainingParts::optimizer_state() {
  std::vector<NamedTensor> states;
  for (const auto& [state, flat] : optimizer_->state())
    for (const auto& entry : parameters_.entries())
      states.push_back({state + "/" + entry.name, FlatParameters::view(flat, entry)});
  if (average_)
    for (auto& tensor : average_->state()) states.push_back(std::move(tensor));
  return states;
}

}  // namespace spankey
