// A checkpoint is one HDF5 file, the same for every number of ranks, with a footer that covers all of it.
//
// The attributes of "/" are kind, format_version, epoch, step, global_step, config_hash, basis_digest, data_digest,
// program, computed_on and train_seconds. With train.early_stop there are early_stop_rule, early_stop_seen_epoch,
// early_stop_best_epoch and, once there is one, early_stop_best. "config" is the resolved TOML, a string (bytes in
// format 1). The groups "parameters", "buffers" and "optimizer/<state>" have one data set per tensor. With
// train.ema_decay the state "average" has one for each parameter and each buffer. The footer of base/sealed_file.h
// comes last.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "record/cursor.h"
#include "record/early_stop.h"
#include "spankey/models/named_tensor.h"

namespace spankey {

// What computed_on says in a checkpoint that `spankey import` has made. It holds no state of an optimiser.
inline constexpr std::string_view imported_weights = "imported weights";

struct Checkpoint {
  Cursor cursor;
  std::string config_toml;  // resolved configuration of the run
  std::string config_hash;
  std::string basis_digest;  // never the basis itself
  std::string data_digest;
  std::string program;         // version and git revision that wrote it
  std::string computed_on;     // ranks, threads and device, as far as bits depend on them. Empty in older files
  double train_seconds = 0.0;  // training seconds of all attempts so far, evaluation excluded
  std::vector<NamedTensor> parameters, buffers;
  std::vector<NamedTensor> optimizer;  // "<state>/<parameter>", for example "exp_avg/conv1.weight"
  std::optional<EarlyStopState> early_stop = {};
};

// Returns the parameters and the buffers that are evaluated, exported and attacked: the averaged ones where there are
// some, else those that are trained.
struct PublishedWeights {
  std::vector<NamedTensor> parameters, buffers;
};
PublishedWeights published_weights(const Checkpoint& checkpoint);

std::vector<std::byte> encode_checkpoint(const Checkpoint& checkpoint);

// Checks length and checksum, then reads. Error(bad_input) names `name` and says what is wrong.
Checkpoint decode_checkpoint(std::span<const std::byte> bytes, const std::string& name);

struct FoundCheckpoint {
  std::filesystem::path path;
  std::vector<std::byte> bytes;
};

// Returns the newest checkpoint whose checksum holds and whose step is the one in its file name. A warning names each
// bad file, which is skipped.
std::optional<FoundCheckpoint> newest_valid_checkpoint(const std::filesystem::path& folder);

// Removes all but the `keep` newest valid files at or before `verified`, which has just been read back and found good.
void retain_checkpoints(const std::filesystem::path& folder, const std::filesystem::path& verified, std::int64_t keep);

}  // namespace spankey
