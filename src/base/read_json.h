// JSON files.
#pragma once

#include <nlohmann/json.hpp>

#include <filesystem>
#include <optional>

namespace spankey {

// The object in a JSON file. Error(bad_input) "PATH: expected JSON, an object" where the file holds anything else.
nlohmann::json read_json(const std::filesystem::path& path);

// The same for a file that may be damaged or cut short: none where it holds anything else. Errors as from read_text()
// where it cannot be read.
std::optional<nlohmann::json> read_json_if_whole(const std::filesystem::path& path);

}  // namespace spankey
