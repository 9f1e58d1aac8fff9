#include "faults/savers.h"

#include <ATen/ATen.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <string>

#include "base/error.h"
#include "base/file.h"
#include "base/sealed_file.h"
#include "record/run_directory.h"
#include "train/checkpoint_writer.h"

namespace spankey::test {
namespace {

void require(bool done, const char* what) {
  if (!done) fail_run("{} failed", what);
}

bool write_all(int fd, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = write(fd, bytes.data(), bytes.size());
    if (written < 0) return false;
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
  return true;
}

void sync_folder(const std::filesystem::path& folder) {
  const int fd = open(folder.c_str(), O_RDONLY | O_DIRECTORY);
  const bool synced = fd >= 0 && fsync(fd) == 0;
  if (fd >= 0) close(fd);
  require(synced, "fsync of the folder");
}

}  // namespace

void write_file(Mutation mutation, const std::filesystem::path& path, std::span<const std::byte> bytes) {
  if (mutation == Mutation::none) return write_durably(path, bytes);
  const bool in_place = mutation == Mutation::written_in_place;
  const bool ignore_write_errors =
      mutation == Mutation::write_error_ignored || mutation == Mutation::pruned_before_verified;
  const auto temporary = in_place ? path : std::filesystem::path(path.string() + ".tmp");
  if (!in_place) unlink(temporary.c_str());
  const int fd = open(temporary.c_str(), O_WRONLY | O_CREAT, 0644);
  require(fd >= 0, "open");
  if (mutation == Mutation::renamed_before_written) require(rename(temporary.c_str(), path.c_str()) == 0, "rename");
  const bool written = write_all(fd, bytes);
  const bool synced = mutation == Mutation::no_fsync || mutation == Mutation::close_error_ignored || fsync(fd) == 0;
  const bool closed = close(fd) == 0;
  require((written && synced) || ignore_write_errors, "write");
  require(closed || ignore_write_errors || mutation == Mutation::close_error_ignored, "close");
  if (!in_place && mutation != Mutation::renamed_before_written)
    require(rename(temporary.c_str(), path.c_str()) == 0, "rename");
  if (mutation != Mutation::no_fsync_of_the_folder) sync_folder(path.parent_path());
}

void save_checkpoint(Mutation mutation, const std::filesystem::path& folder, std::int64_t keep,
                     const Checkpoint& checkpoint) {
  if (mutation == Mutation::none) return CheckpointWriter(folder, keep, /*async=*/false).save(checkpoint);
  const auto path = checkpoint_path(folder, checkpoint.cursor.global_step);
  if (mutation == Mutation::pruned_before_saved) {
    const auto files = list_checkpoints(folder);
    for (std::size_t i = static_cast<std::size_t>(keep) - 1; i < files.size(); ++i) unlink(files[i].c_str());
  }
  write_file(mutation, path, encode_checkpoint(checkpoint));
  if (mutation == Mutation::pruned_before_verified) retain_checkpoints(folder, path, keep);
  checked_image(read_bytes(path), path.string());
  retain_checkpoints(folder, path, keep);
}

Checkpoint checkpoint_of_step(std::int64_t step) {
  const auto values = at::arange(64 * 16, at::kFloat).view({64, 16}) + static_cast<double>(step);
  return {.cursor = {.epoch = step / 10, .step = step % 10, .global_step = step},
          .config_toml = "[run]\nseed = 7\n",
          .config_hash = "abc",
          .basis_digest = "def",
          .data_digest = "012",
          .program = "test",
          .computed_on = "test",
          .parameters = {{"fc.weight", values}},
          .buffers = {{"bn.num_batches_tracked", at::full({}, step, at::kLong)}},
          .optimizer = {{"exp_avg/fc.weight", values * 0.5}}};
}

std::int64_t loadable_step(const std::filesystem::path& folder) {
  const auto found = newest_valid_checkpoint(folder);
  if (!found) return 0;
  const auto checkpoint = decode_checkpoint(found->bytes, found->path.string());
  const auto expected = checkpoint_of_step(checkpoint.cursor.global_step);
  const bool equal = at::equal(checkpoint.parameters.at(0).value, expected.parameters[0].value) &&
                     at::equal(checkpoint.optimizer.at(0).value, expected.optimizer[0].value) &&
                     at::equal(checkpoint.buffers.at(0).value, expected.buffers[0].value);
  return equal ? checkpoint.cursor.global_step : -1;
}

}  // namespace spankey::test
