#include "report/groups.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <iterator>
#include <limits>
#include <set>

#include "config/entries.h"

namespace spankey {
namespace {

constexpr std::size_t digest_digits = 12;
constexpr double published_rounding = 5e-5;  // four decimals

using Keys = std::map<std::string, std::string>;

Keys deciding_keys(const Config& config) {
  Keys keys;
  for (const auto& entry : entries(config))
    if (entry.hashed && entry.key != "run.seed") keys[entry.key] = entry.value;
  return keys;
}

// Recorded digests differ if and only if the sets differ. A run without one belongs to the set of its file.
std::string data_name(const RunRecord& run) {
  const auto file = run.config.data.file.starts_with("builtin:")
                        ? run.config.data.file
                        : std::filesystem::path(run.config.data.file).filename().string();
  return run.data_digest.empty() ? file + " (digest not recorded)"
                                 : fmt::format("{} ({})", file, run.data_digest.substr(0, digest_digits));
}

std::string data_identity(const RunRecord& run) {
  return run.data_digest.empty() ? data_name(run) : run.data_digest;
}

std::vector<std::string> keys_that_differ(const std::deque<Group>& groups) {
  std::vector<std::string> varied;
  for (const auto& entry : entries(groups.front().config())) {  // in the order of the field lists
    const auto first = groups.front().keys.find(entry.key);
    if (first == groups.front().keys.end()) continue;
    const bool differs = std::any_of(groups.begin(), groups.end(),
                                     [&](const Group& group) { return group.keys.at(entry.key) != first->second; });
    if (differs) varied.push_back(entry.key);
  }
  return varied;
}

// The last part of "table.key", unless another varied key ends alike.
std::string short_name(const std::string& key, const std::vector<std::string>& varied) {
  const auto tail = key.substr(key.find('.') + 1);
  const auto alike = std::count_if(varied.begin(), varied.end(),
                                   [&](const std::string& other) { return other.ends_with("." + tail); });
  return alike > 1 ? key : tail;
}

bool names_tell_apart(const std::deque<Group>& groups) {
  std::set<std::string> names;
  for (const auto& group : groups)
    if (!group.config().run.name.empty()) names.insert(group.config().run.name);
  return names.size() == groups.size();
}

void sort_groups(DataStudy& study) {
  if (names_tell_apart(study.groups)) {
    std::stable_sort(study.groups.begin(), study.groups.end(),
                     [](const Group& a, const Group& b) { return a.config().run.name < b.config().run.name; });
    return;
  }
  std::vector<std::vector<std::string>> levels;
  for (const auto& key : study.varied) levels.push_back(study.levels(key));
  const auto rank = [&](const Group& group) {
    std::vector<std::ptrdiff_t> ranks;
    for (std::size_t i = 0; i < levels.size(); ++i)
      ranks.push_back(std::find(levels[i].begin(), levels[i].end(), group.keys.at(study.varied[i])) -
                      levels[i].begin());
    return ranks;
  };
  std::stable_sort(study.groups.begin(), study.groups.end(),
                   [&](const Group& a, const Group& b) { return rank(a) < rank(b); });
}

void label_groups(DataStudy& study) {
  const bool by_name = names_tell_apart(study.groups);
  for (auto& group : study.groups) {
    if (by_name) {
      group.label = group.config().run.name;
      continue;
    }
    std::vector<std::string> parts;
    for (const auto& key : study.varied)
      parts.push_back(short_name(key, study.varied) + " " + plain_value(group.keys.at(key)));
    group.label = fmt::format("{}", fmt::join(parts, ", "));
    if (group.label.empty()) group.label = group.runs.front()->directory.filename().string();
  }
}

bool is_twin_of(const Group& twin, const Group& group) {
  if (twin.config().train.twin != Twin::vanilla || group.config().train.twin == Twin::vanilla) return false;
  return std::all_of(group.keys.begin(), group.keys.end(), [&](const auto& entry) {
    const auto& [key, value] = entry;
    const bool free = key == "train.twin" || key.starts_with("key.") || key.starts_with("deny.");
    return free || twin.keys.at(key) == value;
  });
}

void add_run(DataStudy& study, const RunRecord& run, std::map<Keys, Group*>& by_keys) {
  auto keys = deciding_keys(run.config);
  auto& group = by_keys[keys];
  if (!group) {
    group = &study.groups.emplace_back();
    group->keys = std::move(keys);
  }
  const bool known = std::any_of(group->runs.begin(), group->runs.end(),
                                 [&](const RunRecord* other) { return other->config.run.seed == run.config.run.seed; });
  (known ? group->repeats : group->runs).push_back(&run);
}

}  // namespace

SeedSpread spread_over_seeds(std::vector<double> values, bool differences) {
  SeedSpread spread;
  spread.summary = summarise(values);
  auto shares = values;
  if (differences)
    for (auto& share : shares) share = (share + 1) / 2;
  const auto back = [&](const Interval& of_shares) {
    return differences ? Interval{2 * of_shares.low - 1, 2 * of_shares.high - 1} : of_shares;
  };
  spread.mean_interval = back(mean_share_interval(shares));
  spread.prediction = back(next_share_interval(shares));
  spread.values = std::move(values);
  return spread;
}

std::optional<SeedSpread> Group::spread(const std::string& path) const {
  std::vector<double> values;
  for (const auto* run : runs)
    if (const auto value = number_at(run->result, path)) values.push_back(*value);
  if (values.empty()) return std::nullopt;
  return spread_over_seeds(std::move(values), path.starts_with("verdict.withheld"));
}

double Group::mean(const std::string& path) const {
  const auto over_seeds = spread(path);
  return over_seeds ? over_seeds->summary.mean : std::numeric_limits<double>::quiet_NaN();
}

const RunRecord& Group::least_withholding() const {
  return **std::min_element(runs.begin(), runs.end(), [](const auto* a, const auto* b) {
    return number_at(a->result, "verdict.withheld") < number_at(b->result, "verdict.withheld");
  });
}

std::vector<std::string> DataStudy::levels(const std::string& key) const {
  std::vector<std::string> values;
  for (const auto& group : groups)
    if (std::find(values.begin(), values.end(), group.keys.at(key)) == values.end())
      values.push_back(group.keys.at(key));
  if (std::all_of(values.begin(), values.end(), [](const auto& value) { return number_value(value).has_value(); }))
    std::sort(values.begin(), values.end(),
              [](const auto& a, const auto& b) { return *number_value(a) < *number_value(b); });
  return values;
}

std::vector<DataStudy> make_studies(const std::vector<RunRecord>& runs, const PublishedTable& published) {
  std::vector<std::string> identities;
  std::deque<DataStudy> studies;
  std::deque<std::map<Keys, Group*>> by_keys;
  for (const auto& run : runs) {
    if (run.status != RunStatus::done) continue;
    const auto identity = data_identity(run);
    const auto at = std::find(identities.begin(), identities.end(), identity) - identities.begin();
    if (static_cast<std::size_t>(at) == identities.size()) {
      identities.push_back(identity);
      studies.emplace_back().data = data_name(run);
      by_keys.emplace_back();
    }
    add_run(studies[static_cast<std::size_t>(at)], run, by_keys[static_cast<std::size_t>(at)]);
  }
  for (auto& study : studies) {
    for (auto& group : study.groups) {
      std::sort(group.runs.begin(), group.runs.end(),
                [](const auto* a, const auto* b) { return a->config.run.seed < b->config.run.seed; });
      group.published = match_published(published, group.config(), group.runs.front()->result);
    }
    study.varied = keys_that_differ(study.groups);
    sort_groups(study);
    label_groups(study);
    for (auto& group : study.groups)
      for (const auto& other : study.groups)
        if (is_twin_of(other, group)) group.vanilla = &other;
  }
  return {std::make_move_iterator(studies.begin()), std::make_move_iterator(studies.end())};
}

std::optional<double> number_value(const std::string& toml_value) {
  double value = 0.0;
  const auto* end = toml_value.data() + toml_value.size();
  const auto [stop, error] = std::from_chars(toml_value.data(), end, value);
  return error == std::errc() && stop == end ? std::optional(value) : std::nullopt;
}

std::string plain_value(const std::string& toml_value) {
  const bool quoted = toml_value.size() >= 2 && toml_value.front() == '"' && toml_value.back() == '"';
  return quoted ? toml_value.substr(1, toml_value.size() - 2) : toml_value;
}

std::vector<PublishedVerdict> judge_published(const Group& group, const std::string& path) {
  std::vector<PublishedVerdict> verdicts;
  const auto* row = group.published.row;
  const auto ours = group.spread(path);
  if (!row || !ours || !row->figures.contains(path)) return verdicts;
  std::optional<bool> acceptance;
  const auto& values = row->figures.at(path);
  if (const auto band = row->accept.find(path); band != row->accept.end())
    acceptance = std::abs(ours->summary.mean - summarise(values).mean) <= band->second;
  if (const auto least = row->at_least.find(path); least != row->at_least.end())
    acceptance = acceptance.value_or(true) && ours->summary.mean >= least->second;
  for (const double value : values)
    verdicts.push_back(
        {.published = value,
         .in_range = value >= ours->summary.min - published_rounding && value <= ours->summary.max + published_rounding,
         .in_prediction = value >= ours->prediction.low && value <= ours->prediction.high,
         .acceptance = acceptance});
  return verdicts;
}

}  // namespace spankey
