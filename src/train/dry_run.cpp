#include "train/dry_run.h"

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "data/sampler.h"
#include "dist/on_all_ranks.h"
#include "record/run_directory.h"
#include "spankey/models/named_tensor.h"
#include "train/experiment.h"
#include "train/optimizer.h"
#include "train/placement.h"
#include "train/resident_step.h"
#include "train/resources.h"

namespace spankey {
namespace {

std::int64_t elements(const std::vector<NamedTensor>& tensors) {
  std::int64_t count = 0;
  for (const auto& [name, value] : tensors) count += value.numel();
  return count;
}

// The number of values that the optimiser and an average keep for each weight.
std::int64_t states(const Config& config) {
  const auto average = config.train.ema_decay > 0.0 ? 1 : 0;
  return std::ssize(make_optimizer(config, at::empty({0}), at::empty({0}))->state()) + average;
}

std::string megabytes(std::int64_t floats) {
  return fmt::format("{:.1f} MB", static_cast<double>(floats) * sizeof(float) / 1e6);
}

std::string keys_text(const Experiment& experiment) {
  const auto& config = experiment.config;
  if (config.train.twin == Twin::vanilla) return "none (train.twin = \"vanilla\")";
  return fmt::format("m {}, gamma {}, {}, at injection points {} (widths {})", config.key.m, config.key.gamma,
                     to_string(config.key.inject), fmt::join(config.key.layers, ", "),
                     fmt::join(experiment.key_dims, ", "));
}

void print_plan(const Experiment& experiment, std::int64_t shards, int threads, int ranks,
                const RunDirectory& directory) {
  const auto& config = experiment.config;
  const auto& data = *experiment.dataset;
  const auto samples = experiment.train_samples();
  const auto steps = Sampler(samples, config.train.global_batch, config.train.drop_last, /*seed=*/0).steps_per_epoch();
  const auto weights = elements(named_parameters(*experiment.model));
  const auto buffers = elements(named_buffers(*experiment.model));
  fmt::print("data           {}: {} training and {} test samples of {}, {} classes{}\n", config.data.file,
             data.train().size, data.test().size, fmt::join(data.info().sample_shape, " x "), data.info().classes,
             samples < data.train().size ? fmt::format("; {} for training (data.limit)", samples) : "");
  fmt::print("network        {}: {} parameters\n", config.model.name, weights);
  fmt::print("keys           {}\n", keys_text(experiment));
  fmt::print("deny loss      {}\n",
             experiment.deny->per_sample ? fmt::format("{}, weight {}", config.deny.mode, config.deny.weight) : "none");
  fmt::print("training       {} epochs of {} steps, {} in all; {} samples a step\n", config.train.epochs, steps,
             config.train.epochs * steps, std::min(samples, config.train.global_batch));
  fmt::print("machine        {}; ranks: {}, shards: {}, compute threads of a rank: {}\n", experiment.placement.name,
             ranks, shards, threads);
  fmt::print("memory         {} a rank for weights, gradients and optimiser; activations and data come on top\n",
             megabytes(weights * (2 + states(config)) + buffers));
  fmt::print("checkpoints    {} each, {} are kept\n", megabytes(weights * (1 + states(config)) + buffers),
             config.checkpoint.keep);
  fmt::print("run directory  {}, {}\n", directory.root.string(),
             std::filesystem::exists(directory.config()) ? "which holds a run" : "new");
  fmt::print("configuration  accepted, hash {:.16}\n", experiment.hash);
}

}  // namespace

ExitCode dry_run(const TrainRequest& request, Communicator& host) {
  const auto placement = place(request.config, host);
  const auto device_communicator = make_device_communicator(request.config, placement, host);
  auto& communicator = device_communicator ? *device_communicator : host;
  const auto experiment = on_all_ranks(
      communicator, [&] { return make_experiment(request.config, placement, nullptr, request.init.get()); });
  const auto shards = on_all_ranks(communicator, [&] {
    require_full_batches(experiment, communicator.size());
    require_capture(experiment, communicator);
    return resolve_shards(experiment.config, communicator.size());
  });
  RunDirectory directory{request.run_directory};
  if (directory.root.empty()) directory.root = default_run_directory(request.config_file, experiment.hash);
  if (communicator.rank() == 0)
    print_plan(experiment, shards, resolve_threads(request.config, host.node_size()), communicator.size(), directory);
  return ExitCode::done;
}

}  // namespace spankey
