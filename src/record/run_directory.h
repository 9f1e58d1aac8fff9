// The layout of a run directory. It holds enough to resume, evaluate, diagnose and report a run.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace spankey {

struct RunDirectory {
  std::filesystem::path root;

  std::filesystem::path config() const { return root / "config.toml"; }  // resolved
  std::filesystem::path metrics() const { return root / "metrics.jsonl"; }
  std::filesystem::path checkpoints() const { return root / "checkpoints"; }
  std::filesystem::path secret() const { return root / "secret"; }       // mode 0700
  std::filesystem::path basis() const { return secret() / "basis.h5"; }  // mode 0600
  std::filesystem::path result() const { return root / "result.json"; }
  std::filesystem::path attack() const { return root / "attack"; }       // what `spankey attack` found
  std::filesystem::path events() const { return root / "tensorboard"; }  // where run.tensorboard asks for them
  std::filesystem::path log() const { return root / "log"; }
  std::filesystem::path stop_marker() const { return root / "STOP"; }

  // Creates the folders. Throws Error(bad_input) where they cannot be created or written to.
  void create() const;

  // Removes the half-written files (*.tmp) of attempts that were killed. Only the holder of the lease may.
  void remove_litter() const;
};

// Returns "<folder>/step_00000123.h5".
std::filesystem::path checkpoint_path(const std::filesystem::path& folder, std::int64_t global_step);

// Returns every checkpoint file in the folder, newest (highest step) first. A missing folder gives an empty list.
// Throws Error(bad_input) for a folder that cannot be read.
std::vector<std::filesystem::path> list_checkpoints(const std::filesystem::path& folder);

// Returns "runs/<config stem>-<first 8 digits of the hash>", which is used without --run-dir.
std::filesystem::path default_run_directory(const std::filesystem::path& config_file, const std::string& config_hash);

}  // namespace spankey
