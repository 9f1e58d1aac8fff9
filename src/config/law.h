// Settings whose different names mean the same law, so that the same is drawn and computed whatever the name.
#pragma once

#include <string>
#include <vector>

#include "config/config.h"

namespace spankey {

// Replaces each name by the first name of the same law. Trials whose configurations become equal by this differ only in
// rounding.
Config with_first_names(const Config& config);

// One sentence for each setting of `config` that has another name, or that has no effect beside its other settings.
std::vector<std::string> law_notes(const Config& config);

}  // namespace spankey
