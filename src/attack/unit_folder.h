// Keeps finished units as files, so that an attack that was killed goes on with the rest. A file is units/<16
// digits>.json, and what decides the outcome of the unit decides its name.
#pragma once

#include <nlohmann/json.hpp>

#include <filesystem>
#include <optional>

#include "attack/attacked_run.h"
#include "attack/plan.h"

namespace spankey {

class UnitFolder {
 public:
  // `root` is the folder of the attack. The weights, the configuration and the data of `run` decide the outcome.
  UnitFolder(std::filesystem::path root, const AttackedRun& run);

  // Makes units/ below the root and removes the marker of an earlier stop. Error where it cannot be written to.
  void prepare() const;
  std::filesystem::path path(const Unit& unit) const;
  // Returns nullopt where the unit has not been done, and, with a warning, where its file is damaged or of another
  // unit.
  std::optional<nlohmann::json> read(const Unit& unit) const;
  // Writes the file durably. `outcome` comes from run_unit().
  void write(const Unit& unit, nlohmann::json outcome) const;

  // A file that asks every rank to leave. One rank that has been asked by a signal makes it for the others.
  std::filesystem::path stop_marker() const { return root_ / "STOP"; }

 private:
  nlohmann::json identity(const Unit& unit) const;

  std::filesystem::path root_;
  nlohmann::json run_;  // what of the identity all units share
};

}  // namespace spankey
