#include "train/loaded_run.h"

#include <filesystem>

#include "base/error.h"
#include "dist/on_all_ranks.h"
#include "train/basis_file.h"
#include "train/checkpoint.h"
#include "train/resume.h"

namespace spankey {

Config run_config(const RunDirectory& directory, const std::vector<std::string>& overrides) {
  if (!std::filesystem::exists(directory.root))
    fail_input("{}: no such run; accepted: the directory of a run", directory.root.string());
  if (!std::filesystem::exists(directory.config()))
    fail_input("{} is not a run directory: {} is missing", directory.root.string(), directory.config().string());
  return load_config(directory.config(), overrides);
}

LoadedNetwork load_network(const RunDirectory& directory, const std::vector<std::string>& overrides,
                           Communicator& communicator, const Placement& placement) {
  // One rank chooses, because a run that still trains adds and removes checkpoints, and network file systems have
  // caches.
  FoundCheckpoint found;
  on_all_ranks(communicator, [&] {
    if (communicator.rank() != 0) return;
    auto newest = newest_valid_checkpoint(directory.checkpoints());
    if (!newest) fail_input("{} holds no valid checkpoint", directory.checkpoints().string());
    found = std::move(*newest);
  });
  found.bytes = communicator.broadcast_bytes(found.bytes, 0);
  found.path = communicator.broadcast_string(found.path.string(), 0);
  const auto config = on_all_ranks(communicator, [&] { return run_config(directory, overrides); });
  const auto dataset = open_data(config.data, communicator);
  return on_all_ranks(communicator, [&] {
    auto experiment = make_experiment(config, placement, dataset);
    const auto checkpoint = decode_checkpoint(found.bytes, found.path.string());
    if (checkpoint.data_digest != experiment.dataset->info().digest)
      fail_input("{} was trained on other data than {}", directory.root.string(), experiment.config.data.file);
    const auto weights = published_weights(checkpoint);
    restore_tensors(weights.parameters, named_parameters(*experiment.model), "parameters");
    restore_tensors(weights.buffers, named_buffers(*experiment.model), "buffers");
    return LoadedNetwork{std::move(experiment), checkpoint.cursor, found.path.string(), checkpoint.basis_digest};
  });
}

Basis load_basis_of(const LoadedNetwork& network, const RunDirectory& directory) {
  const auto& experiment = network.experiment;
  auto basis = load_basis(directory.basis(), experiment.config.key.m, experiment.key_dims);
  if (to_hex(basis_digest(basis)) != network.basis_digest)
    fail_input("{} is not the basis that {} was trained with", directory.basis().string(), network.checkpoint);
  return basis;
}

LoadedRun load_run(const RunDirectory& directory, const std::vector<std::string>& overrides, Communicator& communicator,
                   const Placement& placement) {
  auto network = load_network(directory, overrides, communicator, placement);
  return on_all_ranks(communicator, [&] {
    auto basis = load_basis_of(network, directory);
    return LoadedRun{std::move(network.experiment), std::move(basis), network.cursor};
  });
}

}  // namespace spankey
