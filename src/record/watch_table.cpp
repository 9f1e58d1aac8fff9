#include "record/watch_table.h"

#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <cmath>

#include "base/text.h"

namespace spankey {
namespace {

using nlohmann::json;
using Figure = std::optional<double>;

constexpr std::size_t gap = 2;              // blanks between columns
constexpr std::size_t least_name = 8;       // characters of the name of a run
constexpr std::size_t most_reasons = 5;     // runs that are explained below the table
constexpr std::size_t lines_of_reason = 3;  // of each

Figure epoch_of(const WatchedRun& run) {
  return run.progress.epoch < 0 ? Figure() : Figure(static_cast<double>(run.progress.epoch));
}

bool higher(const Figure& a, const Figure& b) {
  return a && (!b || *a > *b);
}

bool lower(const Figure& a, const Figure& b) {
  return a && (!b || *a < *b);
}

std::string figure_text(const Figure& value, int decimals) {
  return value && std::isfinite(*value) ? fmt::format("{:.{}f}", *value, decimals) : value ? "nan" : "-";
}

std::string epoch_text(const WatchedRun& run) {
  if (run.progress.epoch < 0) return "-";
  return run.epochs > 0 ? fmt::format("{}/{}", run.progress.epoch + 1, run.epochs)
                        : fmt::format("{}", run.progress.epoch + 1);
}

struct Column {
  int rank;  // the column with the highest rank is left out first, and one of rank 0 never
  std::string title;
  bool numeric;
  std::vector<std::string> cells;

  std::size_t width() const {
    std::size_t widest = count_characters(title);
    for (const auto& cell : cells) widest = std::max(widest, count_characters(cell));
    return widest;
  }
};

std::vector<Column> columns_of(const std::vector<const WatchedRun*>& runs, const WatchStyle& style) {
  constexpr std::size_t spark_width = 16;
  std::vector<Column> columns{{0, "run", false, {}},   {0, "state", false, {}}, {1, "epoch", true, {}},
                              {4, "loss", true, {}},   {7, "", false, {}},      {2, "correct", true, {}},
                              {5, "no key", true, {}}, {6, "strip", true, {}},  {8, "samples/s", true, {}},
                              {3, "left", true, {}}};
  for (const auto* run : runs) {
    const auto& progress = run->progress;
    const auto& speed = progress.samples_per_second;
    const std::array cells{escaped(run->name),
                           to_string(run->state),
                           epoch_text(*run),
                           figure_text(progress.loss, 4),
                           spark_line(progress.losses.means(), spark_width, style.unicode),
                           figure_text(progress.correct, 4),
                           figure_text(progress.no_key, 4),
                           figure_text(progress.strip, 4),
                           speed ? group_thousands(std::lround(*speed)) : std::string("-"),
                           run->seconds_left ? clock_text(*run->seconds_left) : std::string("-")};
    for (std::size_t i = 0; i < columns.size(); ++i) columns[i].cells.push_back(cells[i]);
  }
  return columns;
}

// "key.gamma=0.5 model.name="mlp"" without the tables of its keys, or without the keys. Words of another form stay.
std::string without_keys(const std::string& name, bool tables_only) {
  std::string text;
  for (std::size_t begin = 0; begin <= name.size();) {
    const auto end = std::min(name.find(' ', begin), name.size());
    auto word = name.substr(begin, end - begin);
    if (const auto equals = word.find('='); equals != std::string::npos)
      word = word.substr(tables_only ? word.rfind('.', equals) + 1 : equals + 1);
    std::erase(word, '"');
    text += (begin > 0 ? " " : "") + word;
    begin = end + 1;
  }
  return text;
}

// Shortens names to `room` characters, all of them in the same way, so that they still differ if possible.
void shorten(std::vector<std::string>& names, std::size_t room) {
  const auto fits = [&](const std::string& name) { return count_characters(name) <= room; };
  for (const bool tables_only : {true, false}) {
    if (std::all_of(names.begin(), names.end(), fits)) return;
    for (auto& name : names) name = without_keys(name, tables_only);
  }
  for (auto& name : names) name = without_middle(name, room);
}

// Leaves out columns until the others fit, and shortens the names to what is left.
void fit(std::vector<Column>& columns, std::size_t width) {
  const auto others = [&] {
    std::size_t sum = 0;
    for (std::size_t i = 1; i < columns.size(); ++i) sum += gap + columns[i].width();
    return sum;
  };
  auto narrowest = columns.front();
  for (auto& name : narrowest.cells) name = without_keys(name, /*tables_only=*/true);
  const auto wanted = std::min(narrowest.width(), std::max(least_name, width / 3));
  while (others() + wanted > width) {
    const auto least = std::max_element(columns.begin(), columns.end(),
                                        [](const Column& a, const Column& b) { return a.rank < b.rank; });
    if (least->rank == 0) break;
    columns.erase(least);
  }
  const auto room = others() < width ? width - others() : 0;
  shorten(columns.front().cells, room);
}

std::string padded(const std::string& text, std::size_t width, bool numeric) {
  const auto length = count_characters(text);
  const std::string blanks(width > length ? width - length : 0, ' ');
  return numeric ? blanks + text : text + blanks;
}

const char* colour_of(WatchedState state) {
  constexpr std::array colours{"\033[36m", "\033[31m", "\033[33m", "\033[33m", "\033[35m", "\033[32m", "\033[2m"};
  static_assert(colours.size() == static_cast<std::size_t>(WatchedState::waiting) + 1);
  return colours.at(static_cast<std::size_t>(state));
}

std::string table_text(const std::vector<const WatchedRun*>& runs, const WatchStyle& style) {
  auto columns = columns_of(runs, style);
  fit(columns, style.width);
  std::string text;
  for (std::size_t row = 0; row <= runs.size(); ++row) {  // row 0 has the titles
    std::string line;
    for (std::size_t i = 0; i < columns.size(); ++i) {
      const auto& column = columns[i];
      auto cell = padded(row == 0 ? column.title : column.cells[row - 1], column.width(), column.numeric);
      if (style.colour && i == 1 && row > 0) cell = colour_of(runs[row - 1]->state) + cell + "\033[0m";
      line += (i > 0 ? std::string(gap, ' ') : "") + cell;
    }
    if (!style.colour) line = first_characters(line, style.width);  // helps where even two columns are too many
    text += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
  }
  return text;
}

void add_wrapped(std::string& text, const std::string& line, const WatchStyle& style, std::size_t most) {
  auto lines = wrapped(line, style.width);
  lines.resize(std::min(lines.size(), most));
  for (const auto& part : lines) text += part + "\n";
}

std::string head_text(const WatchView& view, const WatchStyle& style) {
  std::vector<std::string> counts;
  for (const auto state : {WatchedState::done, WatchedState::running, WatchedState::failed, WatchedState::stopped,
                           WatchedState::begun, WatchedState::halved, WatchedState::waiting})
    if (const auto count = view.count(state); count > 0)
      counts.push_back(fmt::format("{} {}", count, to_string(state)));
  std::string text;
  add_wrapped(
      text,
      fmt::format("{}: {}: {}", escaped(view.title), counted(std::ssize(view.runs), "run"), fmt::join(counts, ", ")),
      style, lines_of_reason);
  if (const auto queue = view.queue.text(); !queue.empty())
    add_wrapped(text, "Slurm: " + queue, style, lines_of_reason);
  return text;
}

// Failures come first, because somebody has to do something about them.
std::string reasons_text(std::vector<const WatchedRun*> runs, const WatchStyle& style) {
  std::stable_partition(runs.begin(), runs.end(),
                        [](const WatchedRun* run) { return run->state == WatchedState::failed; });
  std::string text;
  std::size_t reasons = 0;
  for (const auto* run : runs) {
    if (run->reason.empty() || reasons++ >= most_reasons) continue;
    std::vector<std::string> name{escaped(run->name)};
    shorten(name, std::max(least_name, style.width / 3));
    add_wrapped(text, fmt::format("{}: {}", name.front(), escaped(run->reason)), style, lines_of_reason);
  }
  if (reasons > most_reasons)
    add_wrapped(text, fmt::format("... and {} more reasons", reasons - most_reasons), style, 1);
  return text;
}

std::vector<const WatchedRun*> ordered(const WatchView& view, const WatchOrder& order) {
  std::vector<const WatchedRun*> runs;
  for (const auto& run : view.runs) runs.push_back(&run);
  if (order.before != nullptr)
    std::stable_sort(runs.begin(), runs.end(), [&](const auto* a, const auto* b) { return order.before(*a, *b); });
  return runs;
}

std::size_t lines_in(const std::string& text) {
  return static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'));
}

json or_null(const Figure& value) {
  return value && std::isfinite(*value) ? json(*value) : json();
}

}  // namespace

const std::vector<WatchOrder>& watch_orders() {
  using Run = const WatchedRun&;
  static const std::vector<WatchOrder> orders{
      {"state", [](Run a, Run b) { return a.state < b.state; }},
      {"plan", nullptr},
      {"name", [](Run a, Run b) { return a.name < b.name; }},
      {"epoch", [](Run a, Run b) { return higher(epoch_of(a), epoch_of(b)); }},
      {"loss", [](Run a, Run b) { return lower(a.progress.loss, b.progress.loss); }},
      {"correct", [](Run a, Run b) { return higher(a.progress.correct, b.progress.correct); }},
      {"no_key", [](Run a, Run b) { return lower(a.progress.no_key, b.progress.no_key); }},
      {"strip", [](Run a, Run b) { return lower(a.progress.strip, b.progress.strip); }},
      {"speed", [](Run a, Run b) { return higher(a.progress.samples_per_second, b.progress.samples_per_second); }},
      {"left", [](Run a, Run b) { return lower(a.seconds_left, b.seconds_left); }}};
  return orders;
}

std::string spark_line(const std::vector<double>& values, std::size_t width, bool unicode) {
  constexpr std::array blocks{"\u2581", "\u2582", "\u2583", "\u2584", "\u2585", "\u2586", "\u2587", "\u2588"};
  constexpr std::string_view plain = "_.-:=+*#";
  auto shown = values;
  std::erase_if(shown, [](double value) { return !std::isfinite(value); });
  if (shown.empty() || width == 0) return {};
  if (std::all_of(shown.begin(), shown.end(), [](double value) { return value > 0; }))
    for (auto& value : shown) value = std::log(value);
  const auto [low, high] = std::minmax_element(shown.begin(), shown.end());
  const double range = *high - *low;
  const auto columns = std::min(width, shown.size());
  std::string line;
  for (std::size_t i = 0; i < columns; ++i) {
    const auto begin = i * shown.size() / columns, end = (i + 1) * shown.size() / columns;
    double sum = 0.0;
    for (auto at = begin; at < end; ++at) sum += shown[at];
    const double mean = sum / static_cast<double>(end - begin);
    const auto level = range > 0 ? std::min<std::size_t>(7, static_cast<std::size_t>(8 * (mean - *low) / range)) : 0;
    line += unicode ? std::string(blocks.at(level)) : std::string(1, plain[level]);
  }
  return line;
}

std::string watch_text(const WatchView& view, const WatchOrder& order, const WatchStyle& style) {
  auto runs = ordered(view, order);
  const auto head = head_text(view, style), reasons = reasons_text(runs, style);
  const auto all = runs.size();
  const auto others = lines_in(head) + lines_in(reasons) + 2;  // titles, and the line that counts what is not shown
  if (style.height > 0 && all + others > style.height)
    runs.resize(std::min(all, style.height > others ? style.height - others : 1));
  auto text = head + table_text(runs, style);
  if (runs.size() < all) add_wrapped(text, fmt::format("... and {} more", all - runs.size()), style, 1);
  return text + reasons;
}

json to_json(const WatchView& view, const WatchOrder& order) {
  json counts = json::object(), runs = json::array();
  for (const auto& run : view.runs) {
    auto& count = counts[to_string(run.state)];
    count = count.is_null() ? 1 : count.get<std::int64_t>() + 1;
  }
  for (const auto* run : ordered(view, order)) {
    const auto& progress = run->progress;
    runs.push_back({{"name", run->name},
                    {"folder", run->folder.string()},
                    {"state", to_string(run->state)},
                    {"reason", run->reason},
                    {"attempts", run->attempts},
                    {"epoch", progress.epoch < 0 ? json() : json(progress.epoch + 1)},
                    {"epochs", run->epochs > 0 ? json(run->epochs) : json()},
                    {"step", progress.step < 0 ? json() : json(progress.step)},
                    {"loss", or_null(progress.loss)},
                    {"correct_key", or_null(progress.correct)},
                    {"no_key", or_null(progress.no_key)},
                    {"strip", or_null(progress.strip)},
                    {"samples_per_second", or_null(progress.samples_per_second)},
                    {"seconds_left", or_null(run->seconds_left)}});
  }
  return {{"name", view.title}, {"counts", counts}, {"queue", to_json(view.queue)}, {"runs", runs}};
}

}  // namespace spankey
