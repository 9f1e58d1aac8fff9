// Reads the figures of result.json, and makes the table that shows them on the screen.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "config/config.h"

namespace spankey {

// Returns the number at a path such as "no_key.accuracy" or "train.wrong_key.accuracy.max". For an object of figures
// this is their `mean`. Returns nothing where it is null or missing.
std::optional<double> number_at(const nlohmann::json& result, std::string_view path);

// Reads a result.json of this version or an earlier one, whose run has this configuration. The result has
// "key_for_each_batch". Error(bad_input) names the file and the first figure that a result of any version has and this
// one lacks.
nlohmann::json read_result(const std::filesystem::path& file, const Config& config);
// Returns the last evaluation in a metrics.jsonl, as far as the run came, in the same form. Null where there is none,
// or none that can be understood.
nlohmann::json last_evaluation(const std::filesystem::path& metrics, const Config& config);

// Makes the table from the JSON form, so that a finished run can show its result again. It has the figures by key, and
// the verdict.
std::string access_table(const nlohmann::json& report);

}  // namespace spankey
