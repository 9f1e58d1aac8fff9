// The text from which a configuration file can be made again without its base.
#pragma once

#include <filesystem>
#include <string>

namespace spankey {

// The text of a configuration file, from which parse_config() makes what load_config() makes of the file. Where the
// file begins with base = "OTHER.toml", these are the keys that it and its bases set. Throws as load_config() does.
std::string config_text(const std::filesystem::path& file);

}  // namespace spankey
