#include "train/training_parts.h"

namespace spankey {
namespace {

std::vector<std::pair<std::string, at::Tensor>> to_pairs(const std::vector<NamedTensor>& tensors) {
  std::vector<std::pair<std::string, at::Tensor>> pairs;
  for (const auto& [name, value] : tensors) pairs.emplace_back(name, value);
  return pairs;
}

// A small batch is made in less time than it takes to wake the helper thread.
bool worth_prefetching(const Experiment& experiment, const Communicator& communicator) {
  constexpr std::int64_t least_elements = 1 << 15;
  const auto samples = experiment.config.train.global_batch / communicator.size();
  return samples * experiment.dataset->info().sample_size() >= least_elements;
}

}  // namespace

TrainingParts::TrainingParts(const Experiment& experiment, const Basis& basis, std::int64_t shards,
                             Communicator& communicator)
    : keys_(experiment.config.key, experiment.config.run.compat, basis,
            static_cast<std::uint64_t>(experiment.config.run.seed)),
      parameters_(to_pairs(named_parameters(*experiment.model))),
      reducer_(parameters_, communicator,
               {.reduction = experiment.config.dist.reduction,
                .shards = shards,
                .bucket_bytes = experiment.config.dist.bucket_bytes,
                .extra = step_slots}),
      optimizer_(make_optimizer(experiment.config, parameters_.weights(), parameters_.gradients())),
      step_parts_{.config = experiment.config,
                  .deny = *experiment.deny,
                  .keys = keys_,
                  .model = *experiment.model,
                  .parameters = parameters_,
                  .reducer = reducer_,
                  .optimizer = *optimizer_,
                  .shards = shards,
                  .first_shard = shards / communicator.size() * communicator.rank(),
                  .my_shards = shards / communicator.size()},
      sampler_(experiment.train_samples(), experiment.config.train.global_batch, experiment.config.train.drop_last,
               static_cast<std::uint64_t>(experiment.config.run.seed)),
      steps_per_epoch_(sampler_.steps_per_epoch()),
      loader_(experiment.dataset, sampler_,
              Assembler(*experiment.dataset, experiment.dataset->train(), experiment.config.data.augment,
                        static_cast<std::uint64_t>(experiment.config.run.seed), Purpose::augment),
              shards, step_parts_.first_shard, step_parts_.my_shards, worth_prefetching(experiment, communicator)) {}

std::vector<NamedTensor> TrainingParts::optimizer_state() {
  std::vector<NamedTensor> states;
  for (const auto& [state, flat] : optimizer_->state())
    for (const auto& entry : parameters_.entries())
      states.push_back(
          {state + "/" + entry.name, flat.narrow(0, entry.offset, entry.size).view(entry.parameter.sizes())});
  return states;
}

}  // namespace spankey
