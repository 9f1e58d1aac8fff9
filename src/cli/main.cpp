#include <fmt/ranges.h>
#include <malloc.h>

#include <algorithm>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <sstream>

#include "base/command_line.h"
#include "base/error.h"
#include "base/launch.h"
#include "base/secret.h"
#include "base/shutdown.h"
#include "base/standard_streams.h"
#include "cli/command.h"
#include "cli/failure.h"
#include "dist/launcher.h"

namespace {

// Every step allocates and frees tensors of tens of megabytes. The allocator keeps that memory instead of returning it
// to the kernel, which saves page faults.
void keep_freed_memory() {
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, INT_MAX);
}

// CLI11 says of a mistyped command only that one is required.
std::string explain(const CLI::App& app, const CLI::ParseError& error, int argc, char** argv) {
  std::vector<std::string> names;
  for (const auto* command : app.get_subcommands({})) names.push_back(command->get_name());
  if (argc < 2 || argv[1][0] == '-' || std::find(names.begin(), names.end(), argv[1]) != names.end())
    return fmt::format("{} (see --help)", error.what());
  const auto near = spankey::nearest(argv[1], names);
  return fmt::format("no command '{}'; accepted: {}{}", argv[1], fmt::join(names, ", "),
                     near.empty() ? "" : fmt::format("; did you mean '{}'?", near));
}

// In an orderly exit LibTorch unregisters its thousands of operators one by one, which is a third of the time of a
// short command. Our own files are written and closed by now. A sanitizer needs the orderly exit to find leaks.
[[noreturn]] void leave(spankey::ExitCode code) {
  std::fflush(nullptr);
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  std::exit(static_cast<int>(code));
#else
  std::_Exit(static_cast<int>(code));
#endif
}

// Every other command needs one process, so under a launcher only rank 0 does it.
bool works_on_all_ranks(const CLI::App& app) {
  for (const char* name : {"train", "eval", "diagnose", "attack", "predict"})
    if (app.got_subcommand(name)) return true;
  if (app.got_subcommand("key")) return app.get_subcommand("key")->got_subcommand("rotate");
  if (!app.got_subcommand("sweep")) return false;
  const auto* sweep = app.get_subcommand("sweep");
  return sweep->got_subcommand("run") || sweep->got_subcommand("resume") || sweep->got_subcommand("work");
}

// If no ancestor of this process is a known launcher, its variables were left in a shell, or the launcher is unknown
// here. The user then has to learn why this process does nothing.
spankey::ExitCode leave_to_rank_0(const spankey::Launch& launch) {
  if (spankey::Launcher().name().empty())
    spankey::standard_streams::complain(
        fmt::format("spankey: {}: this is rank {} of a launch, and the command is left to rank 0 (outside of a launch: "
                    "unset the variable)",
                    launch.origin, launch.rank));
  return spankey::ExitCode::done;
}

spankey::ExitCode run(int argc, char** argv) {
  using namespace spankey;
  command_line::remember(argc, argv);
  CLI::App app;
  cli::describe_program(app);
  cli::Action action;
  cli::add_train(app, action);
  cli::add_eval(app, action);
  cli::add_data(app, action);
  cli::add_inspect(app, action);
  cli::add_diagnose(app, action);
  cli::add_attack(app, action);
  cli::add_ls(app, action);
  cli::add_watch(app, action);
  cli::add_key(app, action);
  cli::add_predict(app, action);
  cli::add_export(app, action);
  cli::add_import(app, action);
  cli::add_config(app, action);
  cli::add_devices(app, action);
  cli::add_sweep(app, action);
  cli::add_report(app, action);
  cli::add_completion(app, action);
  cli::add_manual(app, action);
  const auto launch = read_launch();
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() != 0) fail_input("{}", explain(app, error, argc, argv));
    if (launch.rank != 0) return leave_to_rank_0(launch);
    std::ostringstream text;  // of --help or --version
    app.exit(error, text);
    fmt::print("{}", text.str());
    return ExitCode::done;
  }
  if (launch.rank != 0 && !works_on_all_ranks(app)) return leave_to_rank_0(launch);
  return action();
}

}  // namespace

int main(int argc, char** argv) {
  using namespace spankey;
  standard_streams::take_over();
  shutdown::ignore_failed_writes();
  cli::install_end_handlers();
  keep_freed_memory();
  forbid_core_dumps();
  auto code = cli::report_errors([&] {
    start_cryptography();
    return run(argc, argv);
  });
  if (const int failure = standard_streams::flush_output()) {
    standard_streams::complain("spankey: error: standard output could not be written: " + system_reason(failure));
    if (code == ExitCode::done) code = ExitCode::run_failed;
  }
  cli::announce_return();
  leave(code);
}
