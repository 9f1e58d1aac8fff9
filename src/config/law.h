// Settings that have two names for one law: what is drawn and computed is the same, whatever the name.
#pragma once

#include <string>
#include <vector>

#include "config/config.h"

namespace spankey {

// The configuration with the first name of each law, which another name may share with it: trials whose configurations
// this makes equal differ in nothing but rounding.
Config with_first_names(const Config& config);

// One sentence for each setting of `config` that has another name, or that does nothing beside its other settings.
std::vector<std::string> law_notes(const Config& config);

}  // namespace spankey
