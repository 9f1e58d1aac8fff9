// The table `key` of a configuration as a JSON object of a header.
#pragma once

#include <nlohmann/json.hpp>

#include <string>

#include "config/config.h"

namespace spankey {

nlohmann::json key_law_json(const KeyConfig& key);

// Error(bad_input) "NAME: ..." where a field is missing, unknown, or holds what a configuration may not.
KeyConfig read_key_law(const nlohmann::json& object, const std::string& name);

}  // namespace spankey
