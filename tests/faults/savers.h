// The product's way to save, and ways that are wrong in one point each: what the tests of this folder must catch.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>

#include "train/checkpoint.h"

namespace spankey::test {

enum class Mutation {
  none,  // the product
  no_fsync,
  no_fsync_of_the_folder,
  renamed_before_written,
  write_error_ignored,
  close_error_ignored,
  written_in_place,
  pruned_before_saved,
  pruned_before_verified,  // with write errors ignored, which verification would have seen
};

// Replaces the content of a file.
void write_file(Mutation mutation, const std::filesystem::path& path, std::span<const std::byte> bytes);

// Saves a checkpoint and removes all but the `keep` newest. The product's is CheckpointWriter.
void save_checkpoint(Mutation mutation, const std::filesystem::path& folder, std::int64_t keep,
                     const Checkpoint& checkpoint);

// A checkpoint whose every value follows from the step: a few kilobytes.
Checkpoint checkpoint_of_step(std::int64_t step);
// The step of the newest valid checkpoint of the folder, whose values must be those of that step; 0 where there is
// none, -1 where the values are others.
std::int64_t loadable_step(const std::filesystem::path& folder);

}  // namespace spankey::test
