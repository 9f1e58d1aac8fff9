// Shows what `spankey diagnose` and `spankey attack` have found about a run, as part of the report of that run.
#pragma once

#include <filesystem>
#include <vector>

#include "page/document.h"
#include "report/run_record.h"

namespace spankey {

// Returns the sections of RUN/diagnose/page.json behind one that says what was examined. Figures are relative to `out`.
// The list is empty where there is no diagnosis. A damaged one is left out with a warning.
std::vector<Section> diagnosis_of(const RunRecord& run, const std::filesystem::path& out);

// Returns the same of RUN/attack/page.json. Empty where the attacks are of other weights than the result's.
std::vector<Section> attacks_of(const RunRecord& run, const std::filesystem::path& out);

}  // namespace spankey
