// Builds what a configuration describes (data, network, deny loss) and checks that the parts fit together.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "config/config.h"
#include "data/dataset.h"
#include "dist/communicator.h"
#include "spankey/deny/deny.h"
#include "spankey/keys/basis.h"
#include "spankey/models/model.h"
#include "spankey/models/named_tensor.h"
#include "train/placement.h"

namespace spankey {

// Weights from a file, with which training starts (`spankey train --init`).
struct InitialWeights {
  std::string file;  // for messages
  std::vector<NamedTensor> tensors;
};

struct Experiment {
  Config config;
  std::shared_ptr<const Dataset> dataset;
  const DenyLoss* deny = nullptr;
  std::shared_ptr<Model> model;        // initial weights, float32, on the device of the placement; they are drawn from
                                       // run.seed where none are given, whatever train.init_digest says
  std::vector<std::int64_t> key_dims;  // width of the key at each of key.layers
  std::string hash;                    // config_hash with the digest of the data
  Placement placement;
  std::shared_ptr<const Basis> retired;  // whose keys training denies (KeyMakerOptions), or none

  std::vector<std::int64_t> train_subset;  // the samples that data.limit chooses, empty for all
  std::int64_t train_samples() const;      // with data.limit applied
};

// Returns what the hash of a run says about the data. It is the digest of the set or, where data.limit chooses other
// samples than the first ones, a digest of the set and of their numbers.
std::string digest_with_limit(const Dataset& dataset, std::int64_t limit);

// Logs what data.limit has chosen, and warns of classes without samples in a split.
void tell_classes(const Experiment& experiment);

// `placement` is that of this rank, as place() found it. `dataset` is what data.file names. If it is nullptr, data.file
// is opened here. With `init` the network gets its weights, and train.init_digest their SHA-256, which must not be
// another one before. Error(bad_input) names the key, its place and what would be accepted.
Experiment make_experiment(Config config, const Placement& placement = {},
                           std::shared_ptr<const Dataset> dataset = nullptr, const InitialWeights* init = nullptr);

// Throws Error(bad_input) where the evaluations of such a run do not have the figure of train.early_stop.metric.
void check_early_stop(const Config& config);

// Collective. Opens the data of a run. One rank of each node checks a file against its digest. One rank renders a
// built-in set for all. Throws the errors of Dataset::open on all ranks.
std::shared_ptr<const Dataset> open_data(const DataConfig& config, Communicator& communicator);

// Throws Error(bad_input) where, under model.sync_batchnorm, some rank would have no samples in a batch. The others
// would wait for it in BatchNorm.
void require_full_batches(const Experiment& experiment, int world_size);

}  // namespace spankey
