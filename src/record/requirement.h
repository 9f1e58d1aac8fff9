// Reads what a user requires of an evaluation, such as "withheld >= 0.2 and no_key.strip_accuracy < 0.15".
#pragma once

#include <nlohmann/json_fwd.hpp>

#include <optional>
#include <string>
#include <vector>

namespace spankey {

// Returns the number of `evaluation` with this name, or the one of its "verdict".
std::optional<double> quantity_at(const nlohmann::json& evaluation, const std::string& quantity);

// Returns the names that quantity_at() knows in `evaluation`.
std::vector<std::string> quantity_names(const nlohmann::json& evaluation);

struct Requirement {
  std::string quantity;  // the path of a number in `spankey eval --json`, or in its "verdict"
  std::string comparison;
  double number = 0.0;
};

// Parses expressions of the form QUANTITY OP NUMBER, joined by "and". OP is one of >= > <= < ==. Error(bad_input) names
// the expression.
std::vector<Requirement> parse_requirements(const std::vector<std::string>& expressions);

// Throws Error(bad_input) for the first quantity that is no number of `evaluation`, with the nearest one. `evaluation`
// is any JSON with the same paths as the measured one.
void require_known(const std::vector<Requirement>& requirements, const nlohmann::json& evaluation);

// Throws Error(bad_input) for the first required figure "attacks.PATH" whose path is missing in `summary`. `summary` is
// attack_summary(), or null where no attacks tell of the evaluated weights. `run` is the directory that was asked for,
// for the message.
void require_attack_figures(const std::vector<Requirement>& requirements, const nlohmann::json& summary,
                            const std::string& run);

// Returns one line with the measured value of each requirement that is not met. Empty where all are met. A price of
// entry that no number of labels has paid is known to be above the most that was tried. A requirement that this does
// not decide is not met.
std::string unmet(const std::vector<Requirement>& requirements, const nlohmann::json& evaluation);

}  // namespace spankey
