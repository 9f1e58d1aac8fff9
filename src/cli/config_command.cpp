#include <memory>

#include "cli/command.h"

namespace spankey::cli {

void add_config(CLI::App& app, Action& action) {
  struct Arguments {
    std::string config;
    std::vector<std::string> overrides;
    bool markdown = false;
  };
  auto* command = add_command(app, "config");
  const auto arguments = std::make_shared<Arguments>();
  command->add_option("CONFIG", arguments->config, "configuration file (TOML)");
  command->add_option("OVERRIDES", arguments->overrides, "key=value, for example key.gamma=1.0");
  command->add_flag("--markdown", arguments->markdown,
                    "print the reference of all keys (docs/configuration.md) instead");
  end_help(*command, "config configs/demo.toml key.gamma=1.0", "Configuration:\n" + describe_fields());
  command->callback([arguments, &action] {
    action = [arguments] {
      if (arguments->markdown) {
        fmt::print("{}", fields_markdown());
        return ExitCode::done;
      }
      if (arguments->config.empty()) fail_input("spankey config: CONFIG is missing (see --help)");
      fmt::print("{}", to_toml(load_config(arguments->config, arguments->overrides)));
      return ExitCode::done;
    };
  });
}

}  // namespace spankey::cli
