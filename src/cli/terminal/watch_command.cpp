#include <fmt/ranges.h>
#include <nlohmann/json.hpp>
#include <poll.h>

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "base/origin.h"
#include "base/shutdown.h"
#include "cli/command.h"
#include "cli/number_option.h"
#include "cli/program.h"
#include "cli/sweep_status.h"
#include "cli/terminal/screen.h"
#include "config/names.h"
#include "record/watch_table.h"

namespace spankey::cli {
namespace {

struct WatchArguments {
  std::string place = "runs", sort = "state";
  bool json = false, once = false;
  double every = 2.0;
  bool every_given = false;
};

std::filesystem::path place_of(const std::string& given) {
  return given.ends_with(".toml") ? sweep_directory(given, "") : std::filesystem::path(given);
}

std::string shown(const WatchView& view, const WatchOrder& order, const WatchArguments& arguments, const Screen& screen,
                  ScreenSize size, bool repeats) {
  if (arguments.json)
    return to_json(view, order).dump(-1, ' ', /*ensure_ascii=*/false, nlohmann::json::error_handler_t::replace) + "\n";
  const WatchStyle style{.width = size.width,
                         .height = repeats ? size.height : 0,
                         .unicode = speaks_utf8(),
                         .colour = screen.has_colours() && size.width >= 20};
  const auto text = watch_text(view, order, style);
  return repeats && !screen.redraws() ? utc_now() + "\n" + text + "\n" : text;
}

// Returns true after `seconds`, or at once where the terminal has another size than the table was made for. False on a
// request to stop.
bool wait_for(double seconds, const Screen& screen, ScreenSize size) {
  constexpr int slice_milliseconds = 100;
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
  while (std::chrono::steady_clock::now() < end) {
    if (shutdown::requested()) return false;
    poll(nullptr, 0, slice_milliseconds);
    if (screen.size() != size) break;
  }
  return !shutdown::requested();
}

ExitCode watch(const WatchArguments& arguments) {
  const auto& order = find_named(watch_orders(), arguments.sort, "--sort");
  RunWatch runs(place_of(arguments.place));
  Screen screen;
  const bool repeats = !arguments.once && (arguments.every_given || (screen.redraws() && !arguments.json));
  shutdown::install_handlers();
  try {
    for (;;) {
      const auto view = runs.look();
      const auto size = screen.size();
      if (!screen.draw(shown(view, order, arguments, screen, size, repeats), size)) return ExitCode::done;
      if (!repeats || view.over() || !wait_for(arguments.every, screen, size)) return ExitCode::done;
    }
  } catch (const Error& error) {  // something has been printed, so this command is not begun again by the core
    fmt::print(stderr, "spankey: {}\n", error.what());
    return error.code();
  }
}

}  // namespace

void add_watch(CLI::App& app, Action& action) {
  auto* command = add_command(app, "watch");
  const auto arguments = std::make_shared<WatchArguments>();
  command->add_option("PLACE", arguments->place,
                      "run directory, folder of a sweep or its TOML file, or a folder that holds such");
  std::vector<std::string_view> names;
  for (const auto& order : watch_orders()) names.push_back(order.name);
  command->add_option("--sort", arguments->sort, fmt::format("order of the rows: {}", fmt::join(names, ", ")));
  auto* every = command->add_option("--every", arguments->every, "seconds between two looks")
                    ->transform(number_between(0.1, 86400));
  command->add_flag("--json", arguments->json, "print JSON, one line a look");
  command->add_flag("--once", arguments->once, "print one table and end");
  end_help(*command, "watch runs/smoke --sort correct",
           "It reads files alone and changes none. On a terminal it shows a table anew until every run is done or has "
           "failed, or until Ctrl-C. Elsewhere, and with --json, it prints once, or with --every one block a look.");
  command->callback([arguments, every, &action] {
    arguments->every_given = every->count() > 0;
    action = [arguments] { return watch(*arguments); };
  });
}

}  // namespace spankey::cli
