// Writes the figures of a run as TensorBoard reads them. An event file is a TFRecord file of Event messages (protocol
// buffers), see tensorflow/core/util/event.proto and tensorboard/plugins/hparams/plugin_data.proto.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "base/descriptor.h"
#include "config/config.h"

namespace spankey {

// Returns one record of a TFRecord file. It is the length as 8 bytes little-endian, the masked CRC32C of the length,
// the data, and the masked CRC32C of the data.
std::string framed(std::string_view data);

// Returns an Event with a scalar for every number of a line of metrics.jsonl except its "global_step", which is the
// step. Tags are the paths of the line, such as "loss" or "correct_key.accuracy.mean". Empty where the line is no
// object or has no number.
std::string scalars_event(const std::string& line);

// Returns an Event that tells the dashboard of hyperparameters the keys of a configuration that decide the result.
std::string settings_event(const Config& config, double start_seconds);

// The event file of one attempt of a run. Its content follows from the lines of metrics.jsonl, so an attempt that goes
// on from a checkpoint writes the lines before it anew and removes the files of earlier attempts. Nothing here throws.
// The first fault is one warning, after which nothing is written.
class EventFile {
 public:
  // Writes to `folder`, which is created by begin().
  EventFile(std::filesystem::path folder, const Config& config);

  // Begins the file with `lines`, which are those that metrics.jsonl has kept.
  void begin(const std::string& lines);
  // Adds a scalar for each figure of whole lines.
  void add(const std::string& lines);

 private:
  void write(const std::string& records);
  void fail(const std::string& reason);

  std::filesystem::path folder_, path_;
  Config config_;
  Descriptor file_;
};

}  // namespace spankey
