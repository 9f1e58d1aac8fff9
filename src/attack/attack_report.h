// What a suite of attacks found: attack.json, and the page that shows it.
#pragma once

#include <nlohmann/json.hpp>

#include <filesystem>
#include <optional>
#include <vector>

#include "attack/attacked_run.h"
#include "attack/plan.h"
#include "page/document.h"

namespace spankey {

// `outcomes` are those of the units of `plan`, in its order (suite.h). `correct` is the accuracy with a valid key as
// result.json has it. Without it row R0 takes its place, and without either nothing is told that needs it.
// docs/attacks.md has the fields.
nlohmann::json attack_report(const AttackedRun& run, const AttackPlan& plan,
                             const std::vector<nlohmann::json>& outcomes, std::optional<double> correct);

// The same for a reader: worst case and what is withheld first, then every row, then what was not tried.
Document attack_document(const nlohmann::json& report);

// attack.json and attack.md in `folder`.
void write_attack_report(const nlohmann::json& report, const std::filesystem::path& folder);

}  // namespace spankey
