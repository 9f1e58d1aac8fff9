// Reports on one or many runs, as a page, Markdown, tables and plots in one folder.
#pragma once

#include <filesystem>
#include <vector>

namespace spankey {

struct ReportOptions {
  std::vector<std::filesystem::path> directories;  // see collect_runs
  std::filesystem::path out;
  std::filesystem::path published;  // find_published() if empty
  int refresh_seconds = 0;          // the page loads itself again after this time, 0: never
};

struct WrittenReport {
  std::size_t runs = 0, damaged = 0;
  bool gnuplot_missing = false;  // tables are complete, plots are only data and commands
};

// Writes index.html, report.md, trials.csv, groups.csv and plots/ to `out`. Throws Error(bad_input) where there is no
// run or a file of published figures is wrong. A run that cannot be read is named in a warning and left out.
WrittenReport write_report(const ReportOptions& options);

}  // namespace spankey
