#include <memory>

#include "cli/command.h"
#include "config/law.h"

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
  // The default is named, since whether a list has one as text depends on the headers of a file.
  command->add_option("OVERRIDES", arguments->overrides, "key=value, for example key.gamma=1.0")->default_str("");
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
      const auto config = load_config(arguments->config, arguments->overrides);
      for (const auto& note : law_notes(config)) fmt::print("# {}\n", note);
      fmt::print("{}", to_toml(config));
      return ExitCode::done;
    };
  });
}

}  // namespace spankey::cli
