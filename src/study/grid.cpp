#include "study/grid.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <optional>

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

bool matches(const Settings& trial, const Settings& pattern) {
  return std::all_of(pattern.begin(), pattern.end(), [&](const Setting& wanted) {
    return std::any_of(trial.begin(), trial.end(), [&](const Setting& setting) {
      return setting.key == wanted.key && same_value(setting.value, wanted.value);
    });
  });
}

}  // namespace

std::string settings_text(const Settings& settings) {
  std::string text;
  for (const auto& [key, value] : settings) text += (text.empty() ? "" : " ") + key + "=" + value;
  return text;
}

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
  for (std::uint64_t index = 0, count = combinations(grid); index < count; ++index) {
    std::vector<const Settings*> chosen;
    std::uint64_t rest = index;
    for (auto dimension = grid.dimensions.rbegin(); dimension != grid.dimensions.rend(); ++dimension) {
      chosen.push_back(&dimension->rows[rest % dimension->rows.size()]);
      rest /= dimension->rows.size();
    }
    Settings trial;
    for (auto row = chosen.rbegin(); row != chosen.rend(); ++row)
      trial.insert(trial.end(), (*row)->begin(), (*row)->end());
    const bool excluded = std::any_of(grid.exclude.begin(), grid.exclude.end(),
                                      [&](const auto& pattern) { return matches(trial, pattern); });
    if (!excluded) trials.push_back(std::move(trial));
  }
  return trials;
}

}  // namespace spankey
