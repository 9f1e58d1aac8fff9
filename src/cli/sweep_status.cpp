#include "cli/sweep_status.h"

#include <fmt/format.h>

#include <memory>

#include "base/text.h"
#include "record/sweep_status.h"

namespace spankey::cli {

CLI::App* add_sweep_itself(CLI::App& app) {
  auto* sweep = add_command(app, "sweep");
  sweep->require_subcommand(1);
  end_help(*sweep, "sweep run configs/sweeps/smoke.toml --jobs 2");
  return sweep;
}

void add_sweep_status(CLI::App& sweep, Action& action) {
  struct Arguments {
    std::string file, directory;
    bool json = false;
  };
  auto* command = sweep.add_subcommand("status", "Count finished, running and failed trials, from files alone");
  const auto arguments = std::make_shared<Arguments>();
  command->add_option("SWEEP", arguments->file, "sweep (TOML)");
  command->add_option("--dir", arguments->directory, sweep_directory_help);
  command->add_flag("--json", arguments->json, "print JSON");
  end_help(*command, "sweep status --dir runs/smoke");
  command->callback([arguments, &action] {
    action = [arguments] {
      const auto plan = load_plan(sweep_directory(arguments->file, arguments->directory));
      fmt::print("{}", status_text(plan, Ledger(plan.store), arguments->json));
      return ExitCode::done;
    };
  });
}

std::filesystem::path sweep_directory(const std::string& file, const std::string& directory) {
  if (file.empty() && directory.empty()) fail_input("which sweep? accepted: SWEEP.toml, or --dir with its folder");
  const auto given = directory.empty() ? "runs" / std::filesystem::path(file).stem() : std::filesystem::path(directory);
  auto absolute = std::filesystem::absolute(given).lexically_normal();
  require_utf8(absolute.string(), "the folder of the sweep");
  return absolute;
}

}  // namespace spankey::cli
