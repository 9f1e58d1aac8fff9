// What a configuration describes, put together and checked part against part: data, network, deny loss.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "config/config.h"
#include "data/dataset.h"
#include "dist/communicator.h"
#include "spankey/deny/deny.h"
#include "spankey/models/model.h"
#include "train/placement.h"

namespace spankey {

struct Experiment {
  Config config;
  std::shared_ptr<const Dataset> dataset;
  const DenyLoss* deny = nullptr;
  std::shared_ptr<Model> model;        // initial weights, float32, on the device of the placement
  std::vector<std::int64_t> key_dims;  // width of the key at each of key.layers
  std::string hash;                    // config_hash with the digest of the data
  Placement placement;

  std::vector<std::int64_t> train_subset;  // the samples that data.limit chooses; empty: all
  std::int64_t train_samples() const;      // data.limit observed
};

// What a hash says of the data: the digest of the set, and where data.limit chooses other samples than the first ones,
// a digest of both.
std::string digest_with_limit(const Dataset& dataset, std::int64_t limit);

// Logs what data.limit has chosen, and warns of classes without samples in a split.
void tell_classes(const Experiment& experiment);

// `placement`: of this rank, as place() found it. `dataset`: what data.file names; nullptr: it is opened here.
// Error(bad_input) names the key, its place and what would be accepted.
Experiment make_experiment(Config config, const Placement& placement = {},
                           std::shared_ptr<const Dataset> dataset = nullptr);

// Collective. The data of a run: a file is held to its digest by one rank of each node, a built-in set is rendered by
// one rank for all. Errors, on all ranks, as of Dataset::open.
std::shared_ptr<const Dataset> open_data(const DataConfig& config, Communicator& communicator);

// model.sync_batchnorm: every rank must have samples in every batch, or the others would wait for it in BatchNorm.
void require_full_batches(const Experiment& experiment, int world_size);

}  // namespace spankey
