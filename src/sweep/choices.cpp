#include "sweep/choices.h"

#include <algorithm>
#include <set>
#include <string_view>

#include "base/error.h"
#include "config/toml_file.h"

namespace spankey {
namespace {

constexpr const char* command_line_place = "command line";

struct Choice {
  std::string key;
  std::vector<std::string> values;  // as TOML text, at least one
};

// Where the value that begins at `begin` ends.
std::size_t end_of_value(std::string_view text, std::size_t begin) {
  int depth = 0;
  char quote = '\0';
  for (std::size_t i = begin; i < text.size(); ++i) {
    const char c = text[i];
    if (quote != '\0') {
      if (c == quote) quote = '\0';
    } else if (c == '"' || c == '\'') {
      quote = c;
    } else if (c == '[' || c == '{') {
      ++depth;
    } else if (c == ']' || c == '}') {
      --depth;
    } else if (c == ',' && depth <= 0) {
      return i;
    }
  }
  return text.size();
}

// Splits at commas outside of brackets and quotation marks. Error(bad_input) where there is no "=" or a value is
// missing.
Choice parse_choice(const std::string& word) {
  const auto equals = word.find('=');
  if (equals == std::string::npos || equals == 0)
    fail_input("{}: {}: accepted: table.key=value, or table.key=value,value for several, such as key.gamma=0.5,1.0",
               command_line_place, shown(word));
  Choice choice{word.substr(0, equals), {}};
  for (std::size_t begin = equals + 1; begin <= word.size();) {
    const auto end = end_of_value(word, begin);
    const auto value = word.substr(begin, end - begin);
    if (value.find_first_not_of(" \t") == std::string::npos)
      fail_input("{}: {}: a value is missing; accepted: values with commas between them, such as {}=1,2",
                 command_line_place, shown(word), choice.key);
    const auto typed = typed_value(value);
    choice.values.push_back(node_text(*typed.get("value")));
    begin = end + 1;
  }
  return choice;
}

// Removes what a sweep file says about a key by itself.
void forget(Grid& grid, const std::string& key) {
  const auto known = grid.places.find(key);
  if (known == grid.places.end()) return;
  std::erase_if(grid.fixed, [&](const Setting& setting) { return setting.key == key; });
  for (const auto& dimension : grid.dimensions) {
    std::set<std::string> keys;
    for (const auto& row : dimension.rows)
      for (const auto& setting : row) keys.insert(setting.key);
    if (keys.contains(key) && keys.size() > 1)
      fail_input("{}: {}: varies together with other keys at {}; accepted: keys that the sweep sets or varies alone",
                 command_line_place, key, dimension.place);
  }
  std::erase_if(grid.dimensions, [&](const Dimension& dimension) {
    return std::any_of(dimension.rows.begin(), dimension.rows.end(),
                       [&](const Settings& row) { return !row.empty() && row.front().key == key; });
  });
  for (auto& exclusion : grid.exclude)
    for (const auto& setting : exclusion.settings) exclusion.may_be_idle |= setting.key == key;
}

}  // namespace

void apply_choices(SweepFile& file, const std::vector<std::string>& words) {
  std::set<std::string> given;
  for (const auto& word : words) {
    auto choice = parse_choice(word);
    if (!given.insert(choice.key).second)
      fail_input("{}: {} is given more than once; accepted: once, with commas between its values", command_line_place,
                 choice.key);
    forget(file.grid, choice.key);
    file.grid.places[choice.key] = command_line_place;
    if (choice.values.size() == 1) {
      file.grid.fixed.push_back({choice.key, choice.values.front()});
      continue;
    }
    Dimension dimension{command_line_place, {}};
    for (auto& value : choice.values) dimension.rows.push_back({{choice.key, std::move(value)}});
    file.grid.dimensions.push_back(std::move(dimension));
  }
}

SweepFile one_off_sweep(const std::filesystem::path& config, const std::vector<std::string>& words) {
  SweepFile file;
  file.path = command_line_place;
  file.name = config.stem().string();
  file.base = config;
  apply_choices(file, words);
  return file;
}

}  // namespace spankey
