#include <chrono>
#include <cstdio>
#include <memory>
#include <thread>

#include "base/log.h"
#include "base/shutdown.h"
#include "base/text.h"
#include "cli/command.h"
#include "cli/number_option.h"
#include "report/report.h"

namespace spankey::cli {
namespace {

struct ReportArguments {
  std::vector<std::string> directories;
  std::string out, published;
  bool live = false;
  std::int64_t every = 60;
};

ReportOptions options_of(const ReportArguments& arguments) {
  ReportOptions options;
  options.directories.assign(arguments.directories.begin(), arguments.directories.end());
  options.out = !arguments.out.empty()              ? std::filesystem::path(arguments.out)
                : arguments.directories.size() == 1 ? options.directories.front() / "report"
                                                    : std::filesystem::path("report");
  options.published = arguments.published;
  if (arguments.live) options.refresh_seconds = static_cast<int>(arguments.every);
  return options;
}

void say_what_was_written(const WrittenReport& written, const std::filesystem::path& out) {
  if (written.gnuplot_missing)
    log::warning("gnuplot is not installed: tables are written, plots are left as data and commands in {}",
                 (out / "plots").string());
  fmt::print("{}{}: {}\n", counted(static_cast<std::int64_t>(written.runs), "run"),
             written.damaged > 0 ? fmt::format(", {} damaged ones left out", written.damaged) : "",
             (out / "index.html").string());
}

ExitCode report(const ReportOptions& options) {
  say_what_was_written(write_report(options), options.out);
  return ExitCode::done;
}

// False on a request to stop.
bool wait_for(std::chrono::seconds time) {
  constexpr std::chrono::milliseconds slice{100};
  const auto end = std::chrono::steady_clock::now() + time;
  while (std::chrono::steady_clock::now() < end && !shutdown::requested()) std::this_thread::sleep_for(slice);
  return !shutdown::requested();
}

// Writes the report again and again until a request to stop. Ctrl-C ends gnuplot as well, which is no failure then.
// After the first time a fault, such as a folder that is being moved, is a warning.
ExitCode report_live(const ReportOptions& options) {
  shutdown::install_handlers();
  for (bool first = true;; first = false) {
    try {
      const auto written = write_report(options);
      if (first) {
        say_what_was_written(written, options.out);
        fmt::print("written again every {}, until Ctrl-C\n", duration_text(options.refresh_seconds));
        std::fflush(stdout);
      }
    } catch (const Error& error) {
      if (shutdown::requested()) return ExitCode::done;
      if (first) throw;
      log::warning("the report stays as it was: {}", error.what());
    }
    if (!wait_for(std::chrono::seconds(options.refresh_seconds))) return ExitCode::done;
  }
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
  command->add_flag("--live", arguments->live,
                    "write the report again and again until Ctrl-C; the page reloads itself");
  command->add_option("--every", arguments->every, "seconds between two reports of --live")
      ->transform(integer_between(1, 86400));
  end_help(*command, "report runs/smoke --out runs/smoke/report");
  command->callback([arguments, &action] {
    action = [arguments] {
      const auto options = options_of(*arguments);
      return arguments->live ? report_live(options) : report(options);
    };
  });
}

}  // namespace spankey::cli
