#include <memory>

#include "cli/command.h"
#include "cli/program.h"
#include "cli/terminal/completion.h"

namespace spankey::cli {

void add_completion(CLI::App& app, Action& action) {
  auto* command = add_command(app, "completion");
  const auto shell = std::make_shared<std::string>();
  command->add_option("SHELL", *shell, "bash, zsh or fish")->required();
  end_help(
      *command, "completion bash > ~/.local/share/bash-completion/completions/spankey",
      "It completes commands, options, configuration keys and the names that a key may have. For zsh write it to a "
      "file _spankey of a folder in fpath, for fish to ~/.config/fish/completions/spankey.fish.");
  command->callback([shell, &app, &action] {
    action = [shell, &app] {
      fmt::print("{}", completion_script(app, *shell));
      return ExitCode::done;
    };
  });
}

void add_manual(CLI::App& app, Action& action) {
  auto* command = add_command(app, "manual");
  end_help(*command, "manual > ~/.local/share/man/man1/spankey.1");
  command->callback([&app, &action] {
    action = [&app] {
      fmt::print("{}", manual_page(app));
      return ExitCode::done;
    };
  });
}

}  // namespace spankey::cli
