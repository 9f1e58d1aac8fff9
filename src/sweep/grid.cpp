#include "sweep/grid.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <optional>

#include "base/error.h"

namespace spankey {
namespace {

std::optional<double> as_number(const std::string& text) {
  double value = 0.0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// 1 and 1.0 are the same value of a key.
bool same_value(const std::string& a, const std::string& b) {
  if (a == b) return true;
  const auto x = as_number(a), y = as_number(b);
  return x && y && *x == *y;
}

bool has(const Settings& settings, const Setting& wanted) {
  return std::any_of(settings.begin(), settings.end(), [&](const Setting& setting) {
    return setting.key == wanted.key && same_value(setting.value, wanted.value);
  });
}

// The combination with this number, the last dimension varying fastest.
Settings combination(const Grid& grid, std::uint64_t index) {
  std::vector<const Settings*> chosen;
  for (auto dimension = grid.dimensions.rbegin(); dimension != grid.dimensions.rend(); ++dimension) {
    chosen.push_back(&dimension->rows[index % dimension->rows.size()]);
    index /= dimension->rows.size();
  }
  Settings settings;
  for (auto row = chosen.rbegin(); row != chosen.rend(); ++row)
    settings.insert(settings.end(), (*row)->begin(), (*row)->end());
  return settings;
}

}  // namespace

std::uint64_t combinations(const Grid& grid) {
  std::uint64_t count = 1;
  for (const auto& dimension : grid.dimensions) {
    const std::uint64_t rows = dimension.rows.size();
    if (rows != 0 && count > std::numeric_limits<std::uint64_t>::max() / rows)
      return std::numeric_limits<std::uint64_t>::max();
    count *= rows;
  }
  return count;
}

std::vector<Settings> expand(const Grid& grid) {
  std::vector<Settings> trials;
  std::vector<bool> matched(grid.exclude.size(), false);
  for (std::uint64_t index = 0, count = combinations(grid); index < count; ++index) {
    auto trial = combination(grid, index);
    const auto holds = [&](const Setting& wanted) { return has(trial, wanted) || has(grid.fixed, wanted); };
    bool excluded = false;
    for (std::size_t i = 0; i < grid.exclude.size(); ++i) {
      const auto& pattern = grid.exclude[i].settings;
      if (!std::all_of(pattern.begin(), pattern.end(), holds)) continue;
      matched[i] = true;
      excluded = true;
    }
    if (!excluded) trials.push_back(std::move(trial));
  }
  // A value in another spelling would exclude nothing without any sign of it.
  for (std::size_t i = 0; i < grid.exclude.size(); ++i)
    if (!matched[i] && !grid.exclude[i].may_be_idle)
      fail_input("{}: [[exclude]] {}: no combination has that; accepted: values as they are set or varied in this file",
                 grid.exclude[i].place, settings_text(grid.exclude[i].settings));
  return trials;
}

}  // namespace spankey
