// Reads what `spankey attack` has left of a run (attack.json), for whoever shows the run: reports, `eval`, `inspect`.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "record/run_directory.h"

namespace spankey {

// Returns RUN/attack/attack.json (docs/attacks.md has its fields). Returns null where there is none, and, with one
// warning, where it is damaged or tells of other weights than `weights_sha256`.
nlohmann::json read_attacks(const RunDirectory& run, const std::string& weights_sha256);

// One figure of the tables of a report: the most that any form of these attacks got with so many images.
struct AttackFigure {
  std::string_view name;   // in attack_summary(), such as "free_key_10"
  std::string_view title;  // for people
  std::string_view ids;    // of attacks, with blanks between them
  int images;
};
std::span<const AttackFigure> attack_figures();

// Returns the figures that were measured by name, with "worst_case" and "worst_case_as_shipped" (each {"access", "id",
// "name", "budget_text"} or null), "withheld", "price" (labels that recover 0.9 of what a valid key gives above chance,
// null where no number that was tried does), "most_labels" (that were tried), "priced" (false where nothing tells what
// a valid key gives above chance) and "preset".
nlohmann::json attack_summary(const nlohmann::json& attacks);

// Returns a summary with every number that attack_summary() may have, so that names can be checked before a run is
// attacked.
nlohmann::json example_attack_summary();

// Puts the summary as "attacks" into a result or an evaluation. Its verdict, where it has one, then counts the worst
// case of the attacks.
void count_attacks(nlohmann::json& access, const nlohmann::json& attacks);

// Does the same in one step for a result.json, whose "weights_sha256" says which attacks count.
void count_attacks(nlohmann::json& result, const RunDirectory& run);

// Access over numbers of images, of queries or of leaked keys. Each point is {number, mean, min, max} over attack
// seeds, in the order of the numbers.
struct AttackCurve {
  std::string title;
  std::vector<std::vector<double>> points;
};
// Return one curve for each attack that has rows, in the order of a legend. `curves_by_images` ends with training from
// scratch.
std::vector<AttackCurve> curves_by_images(const nlohmann::json& attacks);
std::vector<AttackCurve> curves_by_queries(const nlohmann::json& attacks);
std::vector<AttackCurve> curves_by_leaked_keys(const nlohmann::json& attacks);
// Returns the scores z of colluders, one curve for each form of attack L1. A point is {leaked keys, mean, mean - sd,
// mean + sd} over coalitions. There are no curves where the attacks tell of no tracing.
std::vector<AttackCurve> curves_of_tracing(const nlohmann::json& attacks);

}  // namespace spankey
