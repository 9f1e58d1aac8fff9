#include "train/resume.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <fmt/ranges.h>
#include <torch/utils.h>

#include <algorithm>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "base/version.h"
#include "dist/on_all_ranks.h"
#include "train/experiment.h"

namespace spankey {
namespace {

std::vector<std::string> config_changes(const Experiment& experiment, const std::string& stored_toml,
                                        const std::string& place) {
  return config_diff(parse_config(stored_toml, place), experiment.config, /*hashed_only=*/true);
}

// Returns the warning that it has logged. config.toml and the checkpoint mostly differ in the same keys, and one
// warning is enough.
std::string refuse_changes(const TrainRequest& request, const std::vector<std::string>& changes,
                           const std::string& place, const std::string& told = {}) {
  if (changes.empty()) return {};
  const auto text = fmt::format("{}", fmt::join(changes, "; "));
  if (!request.allow_change)
    fail_input("{}: this run was started differently: {} (--allow-change goes on with it; --run-dir starts another)",
               place, text);
  if (text != told) log::warning("going on with a changed configuration: {}", text);
  return text;
}

// Beginning anew would cut the metrics and, in time, remove files that a person may still rescue.
[[noreturn]] void refuse_damaged(const std::vector<std::filesystem::path>& files, const RunDirectory& directory) {
  constexpr std::size_t most_named = 5;
  std::vector<std::string> names;
  for (const auto& file : files)
    if (names.size() < most_named) names.push_back(file.filename().string());
  if (files.size() > most_named) names.push_back(fmt::format("{} more", files.size() - most_named));
  fail_run(
      "{}: none of the checkpoints can be read ({}), and nothing is begun anew over them; to begin anew on purpose, "
      "remove them or choose another --run-dir",
      directory.checkpoints().string(), fmt::join(names, ", "));
}

bool holds_result_of(const Experiment& experiment, const RunDirectory& directory) {
  if (!std::filesystem::exists(directory.result())) return false;
  const auto result = read_json_if_whole(directory.result());
  return result && result->contains("config_hash") && (*result)["config_hash"] == experiment.hash;
}

void warn_of_other_bits(const Checkpoint& checkpoint, const std::string& here) {
  if (checkpoint.computed_on.empty() || checkpoint.computed_on == here) return;
  log::warning("computed so far on {}, from here on {}: a valid run, but not bit for bit that of an undisturbed one",
               checkpoint.computed_on, here);
}

void require_epochs(const Cursor& cursor, const Config& config) {
  const auto begun = cursor.epoch + (cursor.step > 0 ? 1 : 0);
  if (config.train.epochs >= begun) return;
  fail_key(config, "train.epochs",
           fmt::format("the run has done {} epochs{}; accepted: {} or more", cursor.epoch,
                       cursor.step > 0 ? fmt::format(" and {} steps of the next", cursor.step) : "", begun));
}

// Rank 0 calls this. It looks, checks, and returns the bytes of the checkpoint to start from (empty for none).
std::vector<std::byte> look_for_checkpoint(const TrainRequest& request, const Experiment& experiment,
                                           const RunDirectory& directory, int ranks, bool& finished) {
  const bool has_config = std::filesystem::exists(directory.config());
  const auto files = list_checkpoints(directory.checkpoints());
  auto found = newest_valid_checkpoint(directory.checkpoints());
  if (request.resume == Resume::never && (!files.empty() || std::filesystem::exists(directory.result())))
    fail_input("{} already holds a run; with --resume never choose another --run-dir, or remove it",
               directory.root.string());
  if (request.resume == Resume::require && !found)
    fail_input("--resume require: {} holds no valid checkpoint", directory.checkpoints().string());
  if (!found && !files.empty()) refuse_damaged(files, directory);
  const auto config_place = directory.config().string();
  std::string told;
  if (has_config)
    told =
        refuse_changes(request, config_changes(experiment, read_text(directory.config()), config_place), config_place);
  finished = holds_result_of(experiment, directory);
  if (!found) return {};
  const auto place = found->path.string();
  const auto checkpoint = decode_checkpoint(found->bytes, place);
  auto changes = config_changes(experiment, checkpoint.config_toml, place);
  if (const auto& digest = experiment.dataset->info().digest; checkpoint.data_digest != digest)
    changes.push_back(fmt::format("data: {:.16} -> {:.16}", checkpoint.data_digest, digest));
  // A finished run may be looked at with any program. Going on with another one would mix two trainings.
  if (!finished && checkpoint.program != program_version())
    changes.push_back(fmt::format("program: {} -> {}", checkpoint.program, program_version()));
  refuse_changes(request, changes, place, told);
  if (checkpoint.computed_on == imported_weights)
    fail_input(
        "{}: these weights were imported and come without an optimiser's state; accepted: train --init FILE with "
        "another --run-dir",
        place);
  require_epochs(checkpoint.cursor, experiment.config);
  if (!finished) {
    log::info("resuming from {}: epoch {}, step {}", found->path.string(), checkpoint.cursor.epoch + 1,
              checkpoint.cursor.step);
    warn_of_other_bits(checkpoint, computed_on(experiment, ranks));
  }
  return std::move(found->bytes);
}

// True where an epoch takes the same samples in the same order.
bool same_order(const Checkpoint& checkpoint, const Config& before, const Experiment& experiment) {
  return checkpoint.data_digest == experiment.dataset->info().digest && before.run.seed == experiment.config.run.seed &&
         before.data.limit == experiment.config.data.limit;
}

}  // namespace

Continuation continuation_of(const Checkpoint& checkpoint, const Experiment& experiment, std::int64_t steps_per_epoch) {
  const auto& at = checkpoint.cursor;
  if (at.step == 0) return {at, {}};
  const auto& config = experiment.config;
  const auto before = parse_config(checkpoint.config_toml, "the checkpoint");
  const auto taken = at.step * before.train.global_batch;
  const bool same = same_order(checkpoint, before, experiment);
  if (!same || taken % config.train.global_batch != 0)
    return {{at.epoch, 0, at.global_step},
            fmt::format("epoch {} is begun anew: the {} samples of its first {} steps were {}, and are taken again",
                        at.epoch + 1, taken, at.step,
                        same ? fmt::format("no whole number of batches of {}", config.train.global_batch)
                             : "taken in another order or of other data")};
  const auto step = taken / config.train.global_batch;
  // What is left may be too little for a batch. Then only the end of the epoch is left to do.
  return {{at.epoch, std::min(step, steps_per_epoch), at.global_step}, {}};
}

ResumePoint find_resume_point(const TrainRequest& request, const Experiment& experiment, const RunDirectory& directory,
                              Communicator& communicator) {
  ResumePoint point;
  std::vector<std::byte> bytes;
  on_all_ranks(communicator, [&] {
    if (communicator.rank() == 0)
      bytes = look_for_checkpoint(request, experiment, directory, communicator.size(), point.finished);
  });
  auto finished = at::full({1}, point.finished ? 1 : 0, at::kLong);
  communicator.broadcast(finished, 0);
  point.finished = finished.item<std::int64_t>() != 0;
  bytes = communicator.broadcast_bytes(bytes, 0);
  if (!bytes.empty())
    point.checkpoint =
        on_all_ranks(communicator, [&] { return decode_checkpoint(bytes, "checkpoint sent by rank 0"); });
  return point;
}

std::string computed_on(const Experiment& experiment, int ranks) {
  const auto threads = at::get_num_threads();
  const auto of_threads = fmt::format("{} thread{}, {}", threads, threads == 1 ? "" : "s", experiment.placement.name);
  if (experiment.config.dist.reduction == Reduction::elastic) return of_threads;
  return fmt::format("{} rank{} of {}", ranks, ranks == 1 ? "" : "s", of_threads);
}

void restore_tensors(const std::vector<NamedTensor>& from, const std::vector<NamedTensor>& into,
                     const std::string& what) {
  const torch::NoGradGuard no_grad;
  for (const auto& [name, target] : into) {
    const auto source =
        std::find_if(from.begin(), from.end(), [&wanted = name](const auto& t) { return t.name == wanted; });
    if (source == from.end()) fail_input("the checkpoint has no {} '{}'", what, name);
    if (source->value.sizes() != target.sizes() || source->value.scalar_type() != target.scalar_type())
      fail_input("the checkpoint's {} '{}' is {} {}, the model's is {} {}", what, name, dtype_name(source->value),
                 source->value.sizes().vec(), dtype_name(target), target.sizes().vec());
    at::Tensor(target).copy_(source->value);
  }
  if (from.size() != into.size())
    fail_input("the checkpoint has {} tensors of kind '{}', the model {}", from.size(), what, into.size());
}

}  // namespace spankey
