// The built-in data sets by name. Each is a function without arguments and one line of config/builtin_data.inc.
#pragma once

#include <string>

#include "data/dataset.h"

namespace spankey {

// Makes the data set of a name such as "builtin:glyphs", in any case. Error(bad_input) lists the known names.
DatasetContent make_builtin(const std::string& name);

// The functions that make them.
#define SPANKEY_BUILTIN_DATA(name, make) DatasetContent make();
#include "config/builtin_data.inc"
#undef SPANKEY_BUILTIN_DATA

}  // namespace spankey
