// The figure by which runs are compared while they train. It is one number of an evaluation, or a sum of several.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "record/run_directory.h"

namespace spankey {

// Terms such as "correct_key.accuracy" and "attacks.worst_case.access". A name that begins with "attacks." is one of
// attack_summary() (record/attack_record.h). Every other name is one of an evaluation or of its verdict, or "loss",
// "ce" and "deny" of the last step before it.
struct Objective {
  struct Term {
    double factor = 1.0;  // 1 or -1
    std::string quantity;
  };
  std::string text;
  std::vector<Term> terms;

  bool uses_attack() const;
};

// Parses names joined by " + " and " - ", as in "correct_key.accuracy - wrong_key.accuracy.max". Error(bad_input)
// begins with `place`.
Objective parse_objective(const std::string& text, const std::string& place);

// Returns nothing where a term is missing or no finite number. `attacks` is an attack_summary(), or null.
std::optional<double> value_of(const Objective& objective, const nlohmann::json& evaluation,
                               const nlohmann::json& attacks);

// Throws Error(bad_input), which begins with `place` and has the nearest name, for the first term that the two do not
// have. example_attack_summary() stands for the attack of a run that has not been attacked yet.
void require_known(const Objective& objective, const nlohmann::json& evaluation, const nlohmann::json& attacks,
                   const std::string& place);

// Returns the evaluation of a run after `epochs` epochs, or the first one after that, with "loss", "ce" and "deny" of
// the last step before it. `metrics` is a metrics.jsonl. Null where there is none.
nlohmann::json evaluation_after(const std::filesystem::path& metrics, std::int64_t epochs);

// Returns the attack_summary() of what `spankey attack` has left in a run directory, whatever weights it tells of. Null
// where there is none that can be understood.
nlohmann::json newest_attack_summary(const RunDirectory& run);

}  // namespace spankey
