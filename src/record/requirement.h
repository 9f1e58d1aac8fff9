// What somebody asks of an evaluation: "withheld >= 0.2 and no_key.strip_accuracy < 0.15".
#pragma once

#include <nlohmann/json_fwd.hpp>

#include <string>
#include <vector>

namespace spankey {

struct Requirement {
  std::string quantity;  // a place in `spankey eval --json`, or in its "verdict"
  std::string comparison;
  double number = 0.0;
};

// Each expression: QUANTITY OP NUMBER, joined by "and"; OP: >= > <= < ==. Error(bad_input) names the expression.
std::vector<Requirement> parse_requirements(const std::vector<std::string>& expressions);

// `evaluation`: any JSON that has the same places as the measured one. Error(bad_input) names the first quantity that
// is none of its numbers, and the nearest that is.
void require_known(const std::vector<Requirement>& requirements, const nlohmann::json& evaluation);

// One line with the measured value of each requirement that is not met; empty: all are.
std::string unmet(const std::vector<Requirement>& requirements, const nlohmann::json& evaluation);

}  // namespace spankey
