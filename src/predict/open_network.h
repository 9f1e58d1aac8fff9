// Opens what a user names as a model: a run directory, or a model.skm.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "dist/communicator.h"
#include "keyring/network_description.h"
#include "keyring/signing.h"
#include "train/experiment.h"

namespace spankey {

struct OpenedNetwork {
  NetworkDescription description;
  std::shared_ptr<Model> model;    // in evaluation mode
  std::string model_id;            // weights_sha256
  std::optional<PublicKey> owner;  // of a model.skm; a run does not say who its owner is
  bool laboratory = false;         // The basis follows a seed.
};

// Collective. `overrides` are those of a run, such as "data.file=elsewhere.h5", and must be empty for a model.skm,
// which rank 0 reads for all. Errors as from load_network() or open_model().
OpenedNetwork open_network(const std::filesystem::path& path, const std::vector<std::string>& overrides,
                           Communicator& communicator);

// The public description of the network of an experiment.
NetworkDescription describe_experiment(const Experiment& experiment);

}  // namespace spankey
