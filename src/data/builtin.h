// The built-in data sets by name. One is a function that makes it and one line of config/builtin_data.inc.
#pragma once

#include <string>

#include "data/dataset.h"

namespace spankey {

// `name`: "builtin:glyphs", in any case. Error(bad_input) lists the names that are known.
DatasetContent make_builtin(const std::string& name);

}  // namespace spankey
