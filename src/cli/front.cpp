// The program `spankey`. It answers what needs no LibTorch, since loading LibTorch takes a third of a second. For
// everything else, mistakes included, it replaces itself by spankey_core, which is in the same folder
// (docs/decisions/start-up.md).
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>

#include "base/command_line.h"
#include "base/error.h"
#include "base/launch.h"
#include "base/process.h"
#include "base/secret.h"
#include "cli/command.h"
#include "cli/program.h"
#include "cli/sweep_status.h"

namespace spankey::cli {
namespace {

bool is_light(int argc, char** argv) {
  const auto is = [&](int i, std::string_view word) { return argc > i && argv[i] == word; };
  if (argc == 2 && (is(1, "--help") || is(1, "-h") || is(1, "--version"))) return true;
  return is(1, "config") || is(1, "ls") || is(1, "watch") || (is(1, "sweep") && is(2, "status"));
}

// The exit code, or nothing where the core has to look into it.
std::optional<int> answer(int argc, char** argv) {
  CLI::App app;
  describe_program(app);
  Action action;
  for (const auto& [command, text] : summaries) {
    const std::string_view name = command;
    if (name == "config")
      add_config(app, action);
    else if (name == "ls")
      add_ls(app, action);
    else if (name == "watch")
      add_watch(app, action);
    else if (name == "sweep")
      add_sweep_status(*add_sweep_itself(app), action);
    else
      add_command(app, command);
  }
  int code = 0;
  try {
    start_cryptography();
    command_line::remember(argc, argv);
    app.parse(argc, argv);
    code = static_cast<int>(action());
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() != 0) return std::nullopt;
    std::ostringstream text;  // for --help or --version, because std::cout would hide a failed write
    app.exit(error, text);
    std::fputs(text.str().c_str(), stdout);
  } catch (const std::exception&) {
    return std::nullopt;  // nothing has been printed
  }
  // A reader that has gone away has read what it wanted. The core reports any other failure.
  const bool written = std::fflush(stdout) == 0 ? std::ferror(stdout) == 0 : errno == EPIPE;
  return written ? std::optional(code) : std::nullopt;
}

[[noreturn]] void become_core(char** argv) {
  auto beside = program_path();
  if (!beside.empty()) execv(beside.replace_filename("spankey_core").c_str(), argv);
  const int reason = errno;
  execv(SPANKEY_BUILT_CORE, argv);  // for a copy of the front without its core
  fmt::print(stderr, "spankey: {} cannot be started: {}; the program is two files, spankey and spankey_core\n",
             beside.string(), std::strerror(reason));
  std::exit(static_cast<int>(ExitCode::run_failed));
}

}  // namespace
}  // namespace spankey::cli

int main(int argc, char** argv) {
  using namespace spankey::cli;
  // One of several ranks leaves the word to rank 0, which the core knows how to do.
  const bool launched = !spankey::read_launch().origin.empty();
  if (is_light(argc, argv) && !launched) {
    const auto before = std::signal(SIGPIPE, SIG_IGN);  // a failed write is noticed instead
    if (const auto code = answer(argc, argv)) return *code;
    std::signal(SIGPIPE, before);  // execv() would keep it
  }
  become_core(argv);
}
