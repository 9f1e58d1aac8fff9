#include "attack/unit_folder.h"

#include <utility>

#include "base/digest.h"
#include "base/error.h"
#include "base/file.h"
#include "base/log.h"

namespace spankey {

UnitFolder::UnitFolder(std::filesystem::path root, const AttackedRun& run)
    : root_(std::move(root)),
      run_{{"weights_sha256", run.weights_sha256},
           {"config_hash", run.experiment.hash},
           {"data", to_string(run.data.source())}} {}

void UnitFolder::prepare() const {
  make_writable_folder(root_ / "units");
  std::error_code none;
  std::filesystem::remove(stop_marker(), none);
}

nlohmann::json UnitFolder::identity(const Unit& unit) const {
  auto identity = run_;
  identity.update({{"attack", unit.attack->id},
                   {"version", unit.attack->version},
                   {"budget", to_json(unit.budget)},
                   {"seed", unit.seed}});
  return identity;
}

std::filesystem::path UnitFolder::path(const Unit& unit) const {
  return root_ / "units" / (to_hex(sha256(identity(unit).dump())).substr(0, 16) + ".json");
}

std::optional<nlohmann::json> UnitFolder::read(const Unit& unit) const {
  const auto file = path(unit);
  if (!std::filesystem::exists(file)) return std::nullopt;
  auto found = read_json_if_whole(file);
  if (found && found->value("unit", nlohmann::json()) == identity(unit) && found->contains("access")) return found;
  log::warning("{} is not the outcome of {}, {}: it is measured again", file.string(), unit.attack->id,
               budget_text(unit.budget));
  return std::nullopt;
}

void UnitFolder::write(const Unit& unit, nlohmann::json outcome) const {
  outcome["unit"] = identity(unit);
  write_durably(path(unit), outcome.dump(2) + "\n");
}

}  // namespace spankey
