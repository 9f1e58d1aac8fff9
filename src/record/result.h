// The figures of result.json as they are read again, and the table that shows them on the screen.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "config/config.h"

namespace spankey {

// "no_key.accuracy", "train.wrong_key.accuracy.max": the number there, `mean` of an object of figures; nothing where
// it is null or missing.
std::optional<double> number_at(const nlohmann::json& result, std::string_view path);

// A result.json of this version or an earlier one, whose run has this configuration, with "key_for_each_batch".
// Error(bad_input) names the file and the first figure that a result of any version has and this one lacks.
nlohmann::json read_result(const std::filesystem::path& file, const Config& config);
// The last evaluation in a metrics.jsonl, as far as a run came, in the same form; null where there is none, or none
// that can be understood.
nlohmann::json last_evaluation(const std::filesystem::path& metrics, const Config& config);

// From the JSON form, so that a finished run can show its result again: figures by key, and the verdict.
std::string access_table(const nlohmann::json& report);

}  // namespace spankey
