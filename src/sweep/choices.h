// Settings of the command line for a sweep, where a key may have several values ("key.gamma=0.5,1").
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "sweep/sweep_file.h"

namespace spankey {

// Sets each key to its value in every trial, or makes it an axis where it has several. What the sweep file sets for the
// key, alone in [set], [axes] or seeds, no longer counts. Throws Error(bad_input) for a key that the file varies
// together with others.
void apply_choices(SweepFile& file, const std::vector<std::string>& words);

// The sweep that `words` make of a configuration file, without a sweep file.
SweepFile one_off_sweep(const std::filesystem::path& config, const std::vector<std::string>& words);

}  // namespace spankey
