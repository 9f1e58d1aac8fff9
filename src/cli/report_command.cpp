#include <memory>

#include "base/log.h"
#include "base/text.h"
#include "cli/command.h"
#include "report/report.h"

namespace spankey::cli {
namespace {

struct ReportArguments {
  std::vector<std::string> directories;
  std::string out, published;
};

ExitCode report(const ReportArguments& arguments) {
  ReportOptions options;
  options.directories.assign(arguments.directories.begin(), arguments.directories.end());
  options.out = !arguments.out.empty()              ? std::filesystem::path(arguments.out)
                : arguments.directories.size() == 1 ? options.directories.front() / "report"
                                                    : std::filesystem::path("report");
  options.published = arguments.published;
  const auto written = write_report(options);
  if (written.gnuplot_missing)
    log::warning("gnuplot is not installed: tables are written, plots are left as data and commands in {}",
                 (options.out / "plots").string());
  fmt::print("{}{}: {}\n", counted(static_cast<std::int64_t>(written.runs), "run"),
             written.damaged > 0 ? fmt::format(", {} damaged ones left out", written.damaged) : "",
             (options.out / "index.html").string());
  return ExitCode::done;
}

}  // namespace

void add_report(CLI::App& app, Action& action) {
  auto* command = add_command(app, "report");
  const auto arguments = std::make_shared<ReportArguments>();
  command->add_option("DIR", arguments->directories, "run directories, sweep directories, or folders that hold them")
      ->required();
  command->add_option("--out", arguments->out, "folder of the report; default: DIR/report, or report for several")
      ->default_str("");
  command
      ->add_option("--published", arguments->published,
                   "published figures to compare with; default: configs/paper/published.toml")
      ->default_str("");
  end_help(*command, "report runs/smoke --out runs/smoke/report");
  command->callback([arguments, &action] { action = [arguments] { return report(*arguments); }; });
}

}  // namespace spankey::cli
