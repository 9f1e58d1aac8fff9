// Writes what a suite of attacks found, as attack.json, as pages and for the screen.
#pragma once

#include <nlohmann/json.hpp>

#include <filesystem>
#include <string>
#include <vector>

#include "attack/attacked_run.h"
#include "attack/plan.h"
#include "page/document.h"

namespace spankey {

// What the rows are held against, as far as it is known from elsewhere. Each is null or {"accuracy": {"mean", ...}}.
struct AttackReference {
  nlohmann::json correct;                    // with a valid key; "sd" and "keys" are over keys
  nlohmann::json wrong_key;                  // Gaussian keys; "max" is the best one
  nlohmann::json vanilla, noise, fixed_key;  // twins; "sd" and "runs" are over seeds
};

// Returns the references of a result.json of the same weights. Twins are not in it.
AttackReference reference_of_result(const nlohmann::json& result);

// Returns attack.json. `outcomes` are those of the units of `plan`, in its order (suite.h). Where `reference` has no
// correct key, row R0 takes its place, and without either nothing is told that needs it. docs/attacks.md has the
// fields.
nlohmann::json attack_report(const AttackedRun& run, const AttackPlan& plan,
                             const std::vector<nlohmann::json>& outcomes, const AttackReference& reference);

// Returns the report for a reader. It has worst case and what is withheld first, then every row, then what was not
// tried.
Document attack_document(const nlohmann::json& report);

// Returns the report for a terminal. It has worst case, what is withheld, the rows in few columns, and what was not
// tried.
std::string attack_screen(const nlohmann::json& report);

// Writes attack.json, the plots (data, commands and SVG), and the document with them into `folder`: as attack.md, as
// attack.html and, for `spankey report`, as page.json. Returns false where there is no gnuplot to draw the plots.
bool write_attack_report(const nlohmann::json& report, const std::filesystem::path& folder);

}  // namespace spankey
