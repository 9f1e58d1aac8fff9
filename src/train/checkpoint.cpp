#include "train/checkpoint.h"

#include <ATen/ops/empty.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "base/error.h"
#include "base/file.h"
#include "base/hdf5_file.h"
#include "base/log.h"
#include "base/sealed_file.h"
#include "record/run_directory.h"
#include "train/averaged_weights.h"

namespace spankey {
namespace {

constexpr std::int64_t format_version = 2;

at::ScalarType from_h5(h5::Type type) {
  switch (type) {
    case h5::Type::float32:
      return at::kFloat;
    case h5::Type::float64:
      return at::kDouble;
    case h5::Type::int64:
      return at::kLong;
    case h5::Type::int32:
      return at::kInt;
    case h5::Type::uint8:
      return at::kByte;
  }
  fail_run("unknown HDF5 type");
}

h5::Type to_h5(const at::Tensor& tensor) {
  const auto name = dtype_name(tensor);
  for (const auto type : {h5::Type::float32, h5::Type::float64, h5::Type::int64, h5::Type::int32, h5::Type::uint8})
    if (h5::to_string(type) == name) return type;
  fail_run("HDF5 files hold no tensors of type {}", name);
}

void write_tensors(h5::File& file, const std::string& group, const std::vector<NamedTensor>& tensors) {
  for (const auto& [name, value] : tensors) {
    const auto host = value.detach().cpu().contiguous();
    file.write_raw(group + "/" + name, to_h5(host), host.sizes().vec(),
                   {static_cast<const std::byte*>(host.const_data_ptr()), host.nbytes()});
  }
}

std::vector<NamedTensor> read_tensors(const h5::File& file, const std::string& group) {
  std::vector<NamedTensor> tensors;
  if (!file.exists(group)) return tensors;
  for (const auto& name : file.datasets(group)) {
    const auto info = file.info(group + "/" + name);
    auto value = at::empty(info.shape, at::TensorOptions().dtype(from_h5(info.type)));
    file.read_raw(group + "/" + name, {static_cast<std::byte*>(value.mutable_data_ptr()), value.nbytes()});
    tensors.push_back({name, std::move(value)});
  }
  return tensors;
}

std::vector<NamedTensor> read_optimizer(const h5::File& file) {
  std::vector<NamedTensor> states;
  if (!file.exists("optimizer")) return states;
  for (const auto& state : file.groups("optimizer"))
    for (auto& [name, value] : read_tensors(file, "optimizer/" + state))
      states.push_back({state + "/" + name, std::move(value)});
  return states;
}

h5::File open_checkpoint(std::span<const std::byte> bytes, const std::string& name) {
  auto file = h5::File::from_image(checked_image(bytes, name), name);
  if (!file.has_attribute("/", "kind") || file.string_attribute("/", "kind") != "spankey checkpoint")
    fail_input("{}: not a spankey checkpoint", name);
  return file;
}

void write_early_stop(h5::File& file, const EarlyStopState& state) {
  file.set_attribute("/", "early_stop_rule", state.rule);
  file.set_attribute("/", "early_stop_seen_epoch", state.seen_epoch);
  file.set_attribute("/", "early_stop_best_epoch", state.best_epoch);
  if (state.best) file.set_attribute("/", "early_stop_best", *state.best);
}

std::optional<EarlyStopState> read_early_stop(const h5::File& file) {
  if (!file.has_attribute("/", "early_stop_rule")) return std::nullopt;
  EarlyStopState state{.rule = file.string_attribute("/", "early_stop_rule"),
                       .seen_epoch = file.int_attribute("/", "early_stop_seen_epoch"),
                       .best_epoch = file.int_attribute("/", "early_stop_best_epoch"),
                       .best = {}};
  if (file.has_attribute("/", "early_stop_best")) state.best = file.double_attribute("/", "early_stop_best");
  return state;
}

// Format 1 has the configuration as bytes.
std::string text_of(const std::vector<std::uint8_t>& bytes) {
  return {bytes.begin(), bytes.end()};
}

}  // namespace

std::vector<std::byte> encode_checkpoint(const Checkpoint& checkpoint) {
  auto file = h5::File::create();
  file.set_attribute("/", "kind", std::string("spankey checkpoint"));
  file.set_attribute("/", "format_version", format_version);
  file.set_attribute("/", "epoch", checkpoint.cursor.epoch);
  file.set_attribute("/", "step", checkpoint.cursor.step);
  file.set_attribute("/", "global_step", checkpoint.cursor.global_step);
  file.set_attribute("/", "config_hash", checkpoint.config_hash);
  file.set_attribute("/", "basis_digest", checkpoint.basis_digest);
  file.set_attribute("/", "data_digest", checkpoint.data_digest);
  file.set_attribute("/", "program", checkpoint.program);
  file.set_attribute("/", "computed_on", checkpoint.computed_on);
  file.set_attribute("/", "train_seconds", checkpoint.train_seconds);
  if (checkpoint.early_stop) write_early_stop(file, *checkpoint.early_stop);
  file.write_string("config", checkpoint.config_toml);
  write_tensors(file, "parameters", checkpoint.parameters);
  write_tensors(file, "buffers", checkpoint.buffers);
  write_tensors(file, "optimizer", checkpoint.optimizer);
  auto bytes = file.image();
  append_footer(bytes);
  return bytes;
}

Checkpoint decode_checkpoint(std::span<const std::byte> bytes, const std::string& name) {
  const auto file = open_checkpoint(bytes, name);
  const auto version = file.int_attribute("/", "format_version");
  if (version < 1 || version > format_version)
    fail_input("{}: checkpoint format {}, this program reads formats 1 to {}", name, version, format_version);
  Checkpoint checkpoint;
  checkpoint.cursor = {.epoch = file.int_attribute("/", "epoch"),
                       .step = file.int_attribute("/", "step"),
                       .global_step = file.int_attribute("/", "global_step")};
  checkpoint.config_hash = file.string_attribute("/", "config_hash");
  checkpoint.basis_digest = file.string_attribute("/", "basis_digest");
  checkpoint.data_digest = file.string_attribute("/", "data_digest");
  checkpoint.program = file.string_attribute("/", "program");
  if (file.has_attribute("/", "computed_on")) checkpoint.computed_on = file.string_attribute("/", "computed_on");
  checkpoint.train_seconds = file.double_attribute("/", "train_seconds");
  checkpoint.config_toml = version == 1 ? text_of(file.read<std::uint8_t>("config")) : file.read_string("config");
  checkpoint.parameters = read_tensors(file, "parameters");
  checkpoint.buffers = read_tensors(file, "buffers");
  checkpoint.optimizer = read_optimizer(file);
  checkpoint.early_stop = read_early_stop(file);
  return checkpoint;
}

PublishedWeights published_weights(const Checkpoint& checkpoint) {
  PublishedWeights weights{checkpoint.parameters, checkpoint.buffers};
  for (auto* group : {&weights.parameters, &weights.buffers})
    for (auto& [name, value] : *group) {
      const auto averaged = std::find_if(
          checkpoint.optimizer.begin(), checkpoint.optimizer.end(),
          [wanted = std::string(average_prefix) + name](const NamedTensor& tensor) { return tensor.name == wanted; });
      if (averaged != checkpoint.optimizer.end()) value = averaged->value;
    }
  return weights;
}

std::optional<FoundCheckpoint> newest_valid_checkpoint(const std::filesystem::path& folder) {
  for (const auto& path : list_checkpoints(folder)) {
    try {
      auto bytes = read_bytes(path);
      const auto name = path.string();
      // A file with the name of another one (a copy, a mix-up) would silently take the run to another step.
      const auto step = open_checkpoint(bytes, name).int_attribute("/", "global_step");
      if (checkpoint_path(folder, step) != path) fail_input("{}: holds step {}, its name tells of another", name, step);
      return FoundCheckpoint{path, std::move(bytes)};
    } catch (const Error& error) {
      log::warning("checkpoint passed over: {}", error.what());
    }
  }
  return std::nullopt;
}

void retain_checkpoints(const std::filesystem::path& folder, const std::filesystem::path& verified, std::int64_t keep) {
  const auto files = list_checkpoints(folder);
  const auto newest = std::find(files.begin(), files.end(), verified);
  if (newest == files.end()) return;
  for (auto file = newest; file != files.end(); ++file) {
    if (file - newest < keep) continue;
    std::error_code failed;
    if (!std::filesystem::remove(*file, failed) && failed)
      log::warning("{} could not be removed: {}", file->string(), failed.message());
  }
}

}  // namespace spankey
