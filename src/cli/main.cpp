#include <fmt/ranges.h>
#include <malloc.h>

#include <algorithm>
#include <climits>
#include <cstdio>
#include <cstdlib>

#include "base/secret.h"
#include "cli/command.h"

namespace {

// Tensors of tens of megabytes come and go in every step: kept by the allocator instead of being given back to the
// kernel, they cost no page faults.
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

// When a process ends in order LibTorch takes back its thousands of operators one by one: a third of what a short command
// costs. What is ours has been written and closed by now; a sanitizer wants to look for what has not.
[[noreturn]] void leave(spankey::ExitCode code) {
  std::fflush(nullptr);
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  std::exit(static_cast<int>(code));
#else
  std::_Exit(static_cast<int>(code));
#endif
}

}  // namespace

int main(int argc, char** argv) {
  using namespace spankey;
  keep_freed_memory();
  forbid_core_dumps();
  CLI::App app{"Trains networks that work only for holders of a key, and measures how well the lock holds."};
  app.name("spankey");
  app.option_defaults()->always_capture_default();
  app.set_version_flag("--version", cli::version_text);
  app.require_subcommand(1);
  app.footer(
      "Exit codes: 0 done, 2 bad configuration or input, 3 run failed, 75 checkpointed and wants to be started "
      "again.\nspankey COMMAND --help tells more.");
  cli::Action action;
  cli::add_train(app, action);
  cli::add_eval(app, action);
  cli::add_data(app, action);
  cli::add_inspect(app, action);
  cli::add_diagnose(app, action);
  cli::add_config(app, action);
  cli::add_devices(app, action);
  cli::add_sweep(app, action);
  cli::add_report(app, action);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // --help, --version
    if (cli::launcher_rank() == 0) fmt::print(stderr, "spankey: {}\n", explain(app, error, argc, argv));
    return static_cast<int>(ExitCode::bad_input);
  }
  leave(cli::report_errors(action));
}
