// The tables of a report.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "page/document.h"
#include "report/groups.h"

namespace spankey {

// Access by group. The columns are correct key, vanilla twin, no key, no key stripped, wrong key mean and max,
// stripped, worst case. The caption says what was not run.
Table access_table_of(const DataStudy& study);
// Each figure of each group over its seeds, with intervals.
Table interval_table(const DataStudy& study);
// Published figures beside ours. The table has no rows where nothing was published for these configurations.
Table published_table(const DataStudy& study, const std::string& source);
// Best and worst runs, ranked by the accuracy of a key holder and by the difference that the key makes.
Table extremes_table(const DataStudy& study, const std::filesystem::path& out);
// Runs that are not finished, with the known reason.
Table open_runs_table(const RunCollection& collection, const std::filesystem::path& out);
// Finished runs that ended before their last epoch, with the reason.
Table early_stop_table(const RunCollection& collection, const std::filesystem::path& out);
// Access with no key, correct keys and wrong keys of one run.
Table run_table(const RunRecord& run);

// "0.9000 ± 0.0100" over seeds, the mean alone of one seed, "-" where no run has the figure.
std::string mean_sd(const Group& group, const std::string& path);

std::string trials_csv(const RunCollection& collection);
std::string groups_csv(const std::vector<DataStudy>& studies);

// A link to `directory` from a file in `out`.
std::string link_to(const std::filesystem::path& directory, const std::filesystem::path& out);

}  // namespace spankey
