// The sentences about attack.json that both its page and the screen show.
#pragma once

#include <nlohmann/json.hpp>

#include <string>
#include <utility>
#include <vector>

namespace spankey {

inline constexpr const char* attack_last_word =
    "This is access conditioning: it decides what is convenient, not what is possible.";

// "0.9821 by K5 (free key, 10 images, 300 steps), best seed 0.9840", or why there is none.
std::string worst_case_text(const nlohmann::json& report);
// "0.1900 = correct key 0.9000 - worst case", or why that is unknown.
std::string withheld_text(const nlohmann::json& report);
// "price of entry, for 0.9 of what a valid key gives above chance: 10 labels (K5, ...); ..."
std::string price_of_entry_text(const nlohmann::json& report);

// What the rows are held against, in order: correct key, twins, no key, the same stripped, wrong keys, worst case. Each
// with {"mean", "sd"}, or null where it is unknown.
std::vector<std::pair<std::string, nlohmann::json>> attack_references(const nlohmann::json& report);

// The ids of attacks that were not run, by the reason.
std::vector<std::pair<std::string, std::vector<std::string>>> attacks_not_run(const nlohmann::json& report);

}  // namespace spankey
