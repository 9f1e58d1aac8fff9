#include "report/published.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <set>

#include "base/error.h"
#include "base/file.h"
#include "base/process.h"
#include "config/toml_file.h"
#include "report/run_record.h"

namespace spankey {
namespace {

// Configuration keys that change neither the network nor the mean of a measurement.
bool is_free(const std::string& key) {
  constexpr std::array names{"run.seed",  "key.seed",          "key.private", "data.verify",
                             "eval.keys", "eval.every_epochs", "eval.train"};
  return key.starts_with("dist.") || key.starts_with("checkpoint.") ||
         std::find(names.begin(), names.end(), key) != names.end();
}

std::vector<std::string> differences(Config published, Config ours) {
  // The first family is the wrong key of the result. Further families do not change it.
  for (auto* config : {&published, &ours}) config->eval.families.resize(1);
  std::vector<std::string> found;
  for (const auto& difference : config_diff(published, ours, /*hashed_only=*/true))
    if (!is_free(difference.substr(0, difference.find(':')))) found.push_back(difference);
  return found;
}

class RowReader {
 public:
  RowReader(const std::filesystem::path& file, std::string name) : file_(file) { row_.name = std::move(name); }

  PublishedRow read(const toml::table& table) {
    row_.config = load_config(file_.parent_path() / (row_.name + ".toml"));
    for (const auto& [key, node] : table) {
      const std::string name(key.str());
      if (name == "row")
        read_titles(node);
      else if (name == "test_samples")
        row_.test_samples = number(name, node);
      else if (name == "majority_rate")
        row_.majority_rate = number(name, node);
      else if (name == "accept")
        read_limits(name, node, row_.accept);
      else if (name == "at_least")
        read_limits(name, node, row_.at_least);
      else
        read_figures(name, node);
    }
    if (row_.titles.empty()) row_.titles.push_back(row_.name);
    for (const auto& [place, values] : row_.figures)
      if (values.size() != row_.titles.size())
        fail_input("{}: {}.{} has {} values: accepted: {}, one for each name in {}.row", file_.string(), row_.name,
                   place, values.size(), row_.titles.size(), row_.name);
    return std::move(row_);
  }

 private:
  [[noreturn]] void refuse(const std::string& place, const toml::node& node) const {
    fail_input("{}:{}: {}.{} = {}: accepted: a number, or a list of numbers", file_.string(), node.source().begin.line,
               row_.name, place, shown(node_text(node)));
  }

  void read_titles(const toml::node& node) {
    const auto add = [&](const toml::node& title) {
      const auto text = title.value_exact<std::string>();
      if (!text || text->empty())
        fail_input("{}:{}: {}.row = {}: accepted: a name, or a list of names", file_.string(), node.source().begin.line,
                   row_.name, shown(node_text(node)));
      row_.titles.push_back(*text);
    };
    const auto* list = node.as_array();
    if (!list) return add(node);
    for (const auto& title : *list) add(title);
  }

  double number(const std::string& place, const toml::node& node) const {
    const auto value = node.value<double>();
    if (!value || !std::isfinite(*value)) refuse(place, node);
    return *value;
  }

  void read_figures(const std::string& place, const toml::node& node) {
    if (const auto* table = node.as_table()) {
      for (const auto& [key, child] : *table) read_figures(place + "." + std::string(key.str()), child);
    } else if (const auto* list = node.as_array()) {
      if (list->empty()) refuse(place, node);
      for (const auto& value : *list) row_.figures[place].push_back(number(place, value));
    } else {
      row_.figures[place].push_back(number(place, node));
    }
  }

  void read_limits(const std::string& place, const toml::node& node, std::map<std::string, double>& limits) {
    const auto* table = node.as_table();
    if (!table) {
      limits[place.substr(place.find('.') + 1)] = number(place, node);
      return;
    }
    for (const auto& [key, child] : *table) read_limits(place + "." + std::string(key.str()), child, limits);
  }

  const std::filesystem::path& file_;
  PublishedRow row_;
};

bool same_data(const PublishedRow& row, const nlohmann::json& result) {
  const auto samples = number_at(result, "test_samples"), majority = number_at(result, "majority_rate");
  constexpr double rounding = 5e-4;
  return samples && majority && *samples == row.test_samples &&
         (row.majority_rate == 0.0 || std::abs(*majority - row.majority_rate) < rounding);
}

}  // namespace

PublishedTable load_published(const std::filesystem::path& file) {
  const auto text = read_text(file);
  const auto toml = parse_toml(text, file.string());
  PublishedTable table;
  std::set<std::string> titles;
  for (const auto& [key, node] : toml) {
    const std::string name(key.str());
    if (const auto* row = node.as_table()) {
      table.rows.push_back(RowReader(file, name).read(*row));
      for (const auto& title : table.rows.back().titles)
        if (!titles.insert(title).second)
          fail_input("{}:{}: {}.row = {}: another row has this name; accepted: each published row once", file.string(),
                     node.source().begin.line, name, shown(title));
    } else if (name == "source" && node.is_string()) {
      table.source = node.as_string()->get();
    } else {
      fail_input("{}:{}: {} = {}: accepted: source = \"...\", or a table of figures", file.string(),
                 node.source().begin.line, name, shown(node_text(node)));
    }
  }
  return table;
}

std::optional<std::filesystem::path> find_published() {
  std::error_code error;
  const auto program = program_path().parent_path();
  const std::filesystem::path file = "configs/paper/published.toml";
  for (const auto& folder : {std::filesystem::path(), program / "../..", program / "../share/spankey"})
    if (std::filesystem::exists(folder / file, error)) return (folder / file).lexically_normal();
  return std::nullopt;
}

PublishedMatch match_published(const PublishedTable& table, const Config& config, const nlohmann::json& result) {
  PublishedMatch by_name;
  for (const auto& row : table.rows) {
    if (!same_data(row, result)) continue;
    auto found = differences(row.config, config);
    if (found.empty()) return {&row, {}};
    if (row.name == config.run.name && config.train.twin == Twin::none) by_name = {&row, std::move(found)};
  }
  return by_name;
}

}  // namespace spankey
