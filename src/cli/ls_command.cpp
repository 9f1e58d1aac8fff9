#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <memory>

#include "cli/command.h"
#include "cli/program.h"
#include "record/listing.h"

namespace spankey::cli {

void add_ls(CLI::App& app, Action& action) {
  struct Arguments {
    std::string folder = "runs";
    bool json = false;
  };
  auto* command = add_command(app, "ls");
  const auto arguments = std::make_shared<Arguments>();
  command->add_option("DIR", arguments->folder, "folder to search");
  command->add_flag("--json", arguments->json, "print JSON");
  end_help(*command, "ls runs",
           "`worst` is the most that anybody without a valid key gets, the rejection ignored; `withheld` is what a "
           "correct key gives beyond it.");
  command->callback([arguments, &action] {
    action = [arguments] {
      const auto listing = list_runs(arguments->folder);
      fmt::print("{}", arguments->json ? to_json(listing).dump() + "\n" : listing_text(listing));
      return ExitCode::done;
    };
  });
}

}  // namespace spankey::cli
