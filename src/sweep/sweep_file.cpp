#include "sweep/sweep_file.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <functional>
#include <initializer_list>
#include <limits>
#include <optional>

#include "base/digest.h"
#include "base/error.h"
#include "base/file.h"
#include "base/stream.h"
#include "config/config.h"
#include "config/toml_file.h"  // before anything else includes toml++
#include "config/value.h"
#include "record/objective.h"

namespace spankey {
namespace {

constexpr std::int64_t most_rows = 1'000'000;  // of one dimension that is not written out

// A key of [slurm]: the option of sbatch that it becomes, whether it is a number of things, and a value for messages.
struct SlurmKey {
  std::string_view key, option;
  bool counts;
  std::string_view example;
};
constexpr std::array slurm_keys{SlurmKey{"account", "--account", false, "\"project\""},
                                SlurmKey{"partition", "--partition", false, "\"gpu\""},
                                SlurmKey{"qos", "--qos", false, "\"normal\""},
                                SlurmKey{"time", "--time", false, "\"04:00:00\""},
                                SlurmKey{"nodes", "--nodes", true, ""},
                                SlurmKey{"gpus", "--gpus-per-task", true, ""},
                                SlurmKey{"memory", "--mem", false, "\"16G\""},
                                SlurmKey{"constraint", "--constraint", false, "\"a100\""},
                                SlurmKey{"mail", "--mail-user", false, "\"me@example.org\""}};

struct NamedNode {
  std::string key;
  const toml::node* node;
  std::string place;
};

// Rounds to this many significant digits, which gives 0.3 instead of 0.30000000000000004, and a readable learning rate.
double to_digits(double value, int digits) {
  const auto text = fmt::format("{:.{}g}", value, digits);
  double rounded = value;
  std::from_chars(text.data(), text.data() + text.size(), rounded);
  return rounded;
}

class SweepReader {
 public:
  SweepReader(const std::filesystem::path& path, const toml::table& root) : path_(path), root_(root) {}

  SweepFile read() {
    file_.path = path_;
    file_.name = path_.stem().string();
    for (const auto& [key, node, place] : in_file_order(root_)) {
      require_known(
          place, key, *node,
          {"sweep", "set", "axes", "linked", "trials", "exclude", "random", "attack", "halving", "budget", "slurm"});
    }
    read_sweep();
    for (const auto& named : settings(table("set"))) file_.grid.fixed.push_back({claim(named), scalar_text(named)});
    for (const auto& named : settings(table("axes"))) read_axis(named);
    for (const auto* linked : tables("linked")) read_linked(*linked);
    read_trials();
    read_random();
    for (const auto* pattern : tables("exclude")) read_exclusion(*pattern);
    read_attack();
    read_halving();
    read_budget();
    read_slurm();
    return std::move(file_);
  }

 private:
  std::string place_of(const toml::source_region& source) const {
    return fmt::format("{}:{}", path_.string(), source.begin.line);
  }

  [[noreturn]] static void refuse(const NamedNode& named, std::string_view accepted) {
    fail_input("{}: {} = {}: accepted: {}", named.place, named.key, shown(node_text(*named.node)), accepted);
  }

  std::vector<NamedNode> in_file_order(const toml::table& table) const {
    std::vector<std::pair<toml::source_position, NamedNode>> found;
    for (const auto& [key, node] : table)
      found.emplace_back(key.source().begin, NamedNode{std::string(key.str()), &node, place_of(key.source())});
    std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
    std::vector<NamedNode> ordered;
    for (auto& [position, named] : found) ordered.push_back(std::move(named));
    return ordered;
  }

  static void require_known(const std::string& place, const std::string& key, const toml::node& node,
                            const std::vector<std::string>& known) {
    if (std::find(known.begin(), known.end(), key) != known.end()) return;
    fail_input("{}: {} = {}: unknown key of a sweep; accepted: {}{}", place, shown(key), shown(node_text(node)),
               fmt::join(known, ", "), did_you_mean(nearest(key, known)));
  }

  const toml::table& table(const char* name) const {
    static const toml::table none;
    const auto* node = root_.get(name);
    if (!node) return none;
    if (!node->is_table()) refuse({name, node, place_of(node->source())}, fmt::format("a table, [{}]", name));
    return *node->as_table();
  }

  std::vector<const toml::table*> tables(const char* name) const {
    std::vector<const toml::table*> found;
    const auto* node = root_.get(name);
    if (!node) return found;
    const auto* list = node->as_array();
    if (!list) refuse({name, node, place_of(node->source())}, fmt::format("tables, [[{}]]", name));
    for (const auto& element : *list) {
      if (!element.is_table())
        refuse({name, &element, place_of(element.source())}, fmt::format("tables, [[{}]]", name));
      found.push_back(element.as_table());
    }
    return found;
  }

  // Configuration keys of a table, written "key.m" = ... or key.m = ...
  std::vector<NamedNode> settings(const toml::table& from) const {
    std::vector<NamedNode> found;
    for (auto& named : in_file_order(from)) {
      if (named.key.find('.') == std::string::npos && named.node->is_table()) {
        for (auto& inner : in_file_order(*named.node->as_table())) {
          inner.key.insert(0, named.key + ".");
          found.push_back(std::move(inner));
        }
      } else {
        found.push_back(std::move(named));
      }
    }
    return found;
  }

  // Notes that `named` is set or varied here, and that nothing else does.
  const std::string& claim(const NamedNode& named) {
    const auto [entry, fresh] = file_.grid.places.emplace(named.key, named.place);
    if (!fresh)
      fail_input("{}: {} = {}: {} is set or varied at {} already; accepted: one axis a key", named.place, named.key,
                 shown(node_text(*named.node)), named.key, entry->second);
    return entry->first;
  }

  static std::string scalar_text(const NamedNode& named) {
    if (named.node->is_table()) refuse(named, "a value of this key");
    return node_text(*named.node);
  }

  void read_sweep() {
    const auto& sweep = table("sweep");
    for (const auto& named : in_file_order(sweep)) {
      require_known(named.place, named.key, *named.node, {"base", "name", "store", "seeds"});
      if (named.key == "seeds") {
        read_seeds(named);
        continue;
      }
      const auto text = named.node->value_exact<std::string>();
      if (!text || text->empty()) refuse(named, "a string that is not empty");
      if (named.key == "name") file_.name = *text;
      if (named.key == "base") file_.base = path_.parent_path() / *text;
      if (named.key == "store") file_.store = *text;
    }
    if (file_.base.empty())
      fail_input("{}: sweep.base is missing: accepted: the path of a configuration, relative to this file",
                 path_.string());
  }

  void read_seeds(const NamedNode& named) {
    NamedNode seed = named;
    seed.key = "run.seed";
    read_list(seed, "a list of at least one integer");
  }

  void read_list(const NamedNode& named, std::string_view accepted) {
    const auto* list = named.node->as_array();
    if (!list || list->empty()) refuse(named, accepted);
    Dimension dimension{named.place, {}};
    for (const auto& value : *list) dimension.rows.push_back({{claimed(named), node_text(value)}});
    file_.grid.dimensions.push_back(std::move(dimension));
  }

  // claim() once for the first row of a list, the key after that.
  std::string claimed(const NamedNode& named) {
    const auto known = file_.grid.places.find(named.key);
    if (known != file_.grid.places.end() && known->second == named.place) return named.key;
    return claim(named);
  }

  void read_axis(const NamedNode& named) {
    const auto* range = named.node->as_table();
    if (!range) return read_list(named, "a list of at least one value, or {from, to, steps, scale}");
    claim(named);
    Dimension dimension{named.place, {}};
    for (auto& value : range_values(named, *range)) dimension.rows.push_back({{named.key, std::move(value)}});
    file_.grid.dimensions.push_back(std::move(dimension));
  }

  // Empty, which no caller accepts, where the value is no string.
  static std::string word_in(const toml::table& table, std::string_view key, const char* otherwise) {
    const auto* node = table.get(key);
    return node ? node->value_or(std::string()) : otherwise;
  }

  static std::vector<std::string> range_values(const NamedNode& named, const toml::table& range) {
    constexpr std::string_view accepted =
        "{from, to, steps} with numbers and steps >= 1, and scale = \"linear\" or \"log\" (log: from and to > 0)";
    for (const auto& [key, value] : range)
      require_known(named.place, std::string(key.str()), value, {"from", "to", "steps", "scale"});
    const auto from = range["from"].value<double>(), to = range["to"].value<double>();
    const auto steps = range["steps"].value_exact<std::int64_t>();
    const auto scale = word_in(range, "scale", "linear");
    const bool logarithmic = scale == "log";
    if (!from || !to || !steps || *steps < 1 || *steps > most_rows || !std::isfinite(*from) || !std::isfinite(*to) ||
        (!logarithmic && scale != "linear") || (logarithmic && (*from <= 0 || *to <= 0)))
      refuse(named, accepted);
    const bool whole = range["from"].is_integer() && range["to"].is_integer();
    std::vector<std::string> values;
    for (std::int64_t i = 0; i < *steps; ++i) {
      const double t = *steps == 1 ? 0.0 : static_cast<double>(i) / static_cast<double>(*steps - 1);
      const double value = logarithmic ? *from * std::pow(*to / *from, t) : *from + (*to - *from) * t;
      values.push_back(whole ? value_text(static_cast<std::int64_t>(std::llround(value)))
                             : value_text(to_digits(value, 12)));
    }
    values.erase(std::unique(values.begin(), values.end()), values.end());
    return values;
  }

  void read_linked(const toml::table& linked) {
    Dimension dimension{place_of(linked.source()), {}};
    for (const auto& named : settings(linked)) {
      const auto* list = named.node->as_array();
      if (!list || list->empty()) refuse(named, "a list of at least one value");
      if (!dimension.rows.empty() && dimension.rows.size() != list->size())
        refuse(named, fmt::format("{} values, as many as the other keys of this [[linked]]", dimension.rows.size()));
      claim(named);
      dimension.rows.resize(list->size());
      for (std::size_t i = 0; i < list->size(); ++i) dimension.rows[i].push_back({named.key, node_text(*list->get(i))});
    }
    if (dimension.rows.empty()) fail_input("{}: [[linked]] is empty; accepted: keys with lists", dimension.place);
    file_.grid.dimensions.push_back(std::move(dimension));
  }

  void read_trials() {
    Dimension dimension;
    const auto rows = tables("trials");
    std::map<std::string, NamedNode> keys;
    for (const auto* row : rows) {
      Settings trial;
      for (const auto& named : settings(*row)) {
        trial.push_back({named.key, scalar_text(named)});
        keys.emplace(named.key, named);
      }
      dimension.rows.push_back(std::move(trial));
    }
    if (rows.empty()) return;
    for (const auto& [key, named] : keys) claim(named);
    dimension.place = place_of(rows.front()->source());
    file_.grid.dimensions.push_back(std::move(dimension));
  }

  // The value of `key` in [random], or 0 where it is absent.
  std::int64_t random_integer(const char* key, std::int64_t least, std::int64_t most, std::string_view accepted) const {
    const auto* node = table("random").get(key);
    if (!node) return 0;
    const auto value = node->value_exact<std::int64_t>();
    if (!value || *value < least || *value > most)
      refuse({fmt::format("random.{}", key), node, place_of(node->source())}, accepted);
    return *value;
  }

  void read_random() {
    const auto& random = table("random");
    if (random.empty()) return;
    const auto accepted = fmt::format("an integer from 1 to {}, the number of random trials", most_rows);
    const auto count = random_integer("count", 1, most_rows, accepted);
    if (count == 0) fail_input("{}: random.count is missing: accepted: {}", place_of(random.source()), accepted);
    using Any = std::numeric_limits<std::int64_t>;
    const auto seed = static_cast<std::uint64_t>(random_integer("seed", Any::min(), Any::max(), "an integer"));
    Dimension dimension{place_of(random.source()), std::vector<Settings>(static_cast<std::size_t>(count))};
    for (const auto& named : settings(random)) {
      if (named.key == "count" || named.key == "seed") continue;
      if (named.key.find('.') == std::string::npos)
        require_known(named.place, named.key, *named.node, {"count", "seed"});
      claim(named);
      // Each key has a stream of its own, so that adding a key does not change the draws of another.
      const auto layer = crc32c(std::as_bytes(std::span(named.key)));
      for (std::size_t i = 0; i < dimension.rows.size(); ++i) {
        const Stream stream({.seed = seed, .purpose = Purpose::sweep, .sample = i, .layer = layer});
        dimension.rows[i].push_back({named.key, random_value(named, stream)});
      }
    }
    file_.grid.dimensions.push_back(std::move(dimension));
  }

  static std::string random_value(const NamedNode& named, const Stream& stream) {
    if (const auto* list = named.node->as_array(); list && !list->empty())
      return node_text(*list->get(stream.below(0, list->size())));
    constexpr std::string_view accepted =
        "a list to choose from, or {low, high, law} with low < high and law = \"uniform\" or \"log_uniform\" (which "
        "asks for low > 0)";
    const auto* range = named.node->as_table();
    if (!range) refuse(named, accepted);
    for (const auto& [key, value] : *range)
      require_known(named.place, std::string(key.str()), value, {"low", "high", "law"});
    const auto low = (*range)["low"].value<double>(), high = (*range)["high"].value<double>();
    const auto law = word_in(*range, "law", "uniform");
    const bool logarithmic = law == "log_uniform";
    if (!low || !high || !(*low < *high) || (!logarithmic && law != "uniform") || (logarithmic && *low <= 0))
      refuse(named, accepted);
    const double u = stream.uniform_double(0);
    // Two integers mean whole numbers, both ends included.
    const bool whole = (*range)["low"].is_integer() && (*range)["high"].is_integer();
    const double top = whole ? *high + 1 : *high;
    const double value = logarithmic ? *low * std::pow(top / *low, u) : *low + (top - *low) * u;
    return whole ? value_text(static_cast<std::int64_t>(std::floor(value))) : value_text(to_digits(value, 6));
  }

  void read_exclusion(const toml::table& pattern) {
    Exclusion excluded{place_of(pattern.source()), {}};
    for (const auto& named : settings(pattern)) {
      if (!file_.grid.places.contains(named.key)) {
        std::vector<std::string> known;
        for (const auto& [key, place] : file_.grid.places) known.push_back(key);
        fail_input("{}: {} = {}: not a key that this sweep sets or varies; accepted: {}{}", named.place, named.key,
                   shown(node_text(*named.node)), fmt::join(known, ", "), did_you_mean(nearest(named.key, known)));
      }
      excluded.settings.push_back({named.key, scalar_text(named)});
    }
    if (excluded.settings.empty())
      fail_input("{}: [[exclude]] is empty and would leave out everything; accepted: keys with the value to leave out",
                 excluded.place);
    file_.grid.exclude.push_back(std::move(excluded));
  }

  void read_attack() {
    if (!root_.get("attack")) return;
    const auto& attack = table("attack");
    file_.attack.emplace();
    file_.attack_place = place_of(attack.source());
    for (const auto& named : in_file_order(attack)) {
      require_known(named.place, named.key, *named.node, {"preset", "attacks", "images", "seeds"});
      if (named.key == "preset") {
        const auto preset = named.node->value_exact<std::string>();
        if (!preset) refuse(named, "the name of a preset, such as \"quick\"");
        file_.attack->preset = *preset;
      }
      if (named.key == "attacks")
        file_.attack->ids = list_of<std::string>(named, "a list of ids, such as [\"O1\", \"K5\"]");
      if (named.key == "images") {
        file_.attack->images = list_of<std::int64_t>(named, "a list of integers >= 1");
        for (const auto count : file_.attack->images) at_least_one(named, count);
      }
      if (named.key == "seeds") file_.attack->seeds = at_least_one(named, named.node->value_exact<std::int64_t>());
    }
  }

  void read_halving() {
    if (!root_.get("halving")) return;
    const auto& halving = table("halving");
    HalvingTable read{.place = place_of(halving.source()), .rule = {}};
    auto& rule = read.rule;
    for (const auto& named : in_file_order(halving)) {
      require_known(named.place, named.key, *named.node, {"metric", "goal", "rungs", "min_epochs", "factor"});
      if (named.key == "metric") {
        const auto metric = named.node->value_exact<std::string>();
        if (!metric) refuse(named, "a figure of an evaluation, such as \"correct_key.accuracy\"");
        rule.metric = parse_objective(*metric, fmt::format("{}: metric", named.place)).text;
      }
      if (named.key == "goal") {
        const auto goal = named.node->value_or(std::string());
        if (goal != "max" && goal != "min") refuse(named, "\"max\" or \"min\"");
        rule.maximise = goal == "max";
      }
      if (named.key == "rungs") rule.rungs = read_rungs(named);
      if (named.key == "min_epochs") read.min_epochs = at_least_one(named, named.node->value_exact<std::int64_t>());
      if (named.key == "factor") {
        rule.factor = at_least_one(named, named.node->value_exact<std::int64_t>());
        if (rule.factor < 2 || rule.factor > 1000)
          refuse(named, "an integer from 2 to 1000: one trial of so many goes on");
      }
    }
    if (rule.metric.empty())
      fail_input("{}: halving.metric is missing: accepted: a figure of an evaluation, such as \"correct_key.accuracy\"",
                 read.place);
    if (rule.rungs.empty() == (read.min_epochs == 0))
      fail_input("{}: [halving] has {}: accepted: one of rungs = [1, 3] and min_epochs = 1", read.place,
                 rule.rungs.empty() ? "no rungs" : "rungs and min_epochs");
    file_.halving = std::move(read);
  }

  static std::vector<std::int64_t> read_rungs(const NamedNode& named) {
    constexpr std::string_view accepted = "a list of epochs >= 1, each more than the one before";
    auto rungs = list_of<std::int64_t>(named, accepted);
    if (rungs.front() < 1 || std::adjacent_find(rungs.begin(), rungs.end(), std::greater_equal<>()) != rungs.end())
      refuse(named, accepted);
    return rungs;
  }

  static std::int64_t at_least_one(const NamedNode& named, std::optional<std::int64_t> number) {
    if (!number || *number < 1) refuse(named, "integers >= 1");
    return *number;
  }

  template <class T>
  static std::vector<T> list_of(const NamedNode& named, std::string_view accepted) {
    const auto* list = named.node->as_array();
    if (!list || list->empty()) refuse(named, accepted);
    std::vector<T> values;
    for (const auto& element : *list) {
      const auto value = element.value_exact<T>();
      if (!value) refuse(named, accepted);
      values.push_back(*value);
    }
    return values;
  }

  void read_budget() {
    for (const auto& named : in_file_order(table("budget"))) {
      require_known(named.place, named.key, *named.node, {"max_trials", "max_hours"});
      const auto number = named.node->value<double>();
      if (!number || !(*number > 0)) refuse(named, "a number > 0");
      if (named.key == "max_hours") {
        file_.max_hours = *number;
      } else {
        if (!named.node->is_integer()) refuse(named, "an integer >= 1");
        file_.max_trials = named.node->value_or<std::int64_t>(0);
      }
    }
  }

  void read_slurm() {
    for (const auto& named : in_file_order(table("slurm"))) {
      std::vector<std::string> known;
      for (const auto& entry : slurm_keys) known.emplace_back(entry.key);
      require_known(named.place, named.key, *named.node, known);
      const auto& entry = *std::find_if(slurm_keys.begin(), slurm_keys.end(),
                                        [&](const SlurmKey& one) { return one.key == named.key; });
      if (entry.counts) {
        const auto count = named.node->value_exact<std::int64_t>();
        if (!count || *count < 1) refuse(named, "an integer >= 1");
        file_.sbatch.push_back(fmt::format("{}={}", entry.option, *count));
        continue;
      }
      const auto text = named.node->value_exact<std::string>();
      if (!text || text->empty()) refuse(named, fmt::format("a string, such as {}", entry.example));
      file_.sbatch.push_back(fmt::format("{}={}", entry.option, *text));
      if (named.key == "mail") file_.sbatch.emplace_back("--mail-type=END,FAIL");
    }
  }

  std::filesystem::path path_;
  const toml::table& root_;
  SweepFile file_;
};

}  // namespace

SweepFile load_sweep_file(const std::filesystem::path& path) {
  std::error_code error;
  const auto status = std::filesystem::status(path, error);
  if (!std::filesystem::status_known(status)) fail_system(error, "cannot read {}", path.string());
  if (!std::filesystem::is_regular_file(status))
    fail_input("{}: no such file: accepted: a sweep (TOML with a table [sweep])", path.string());
  const auto root = parse_toml(read_text(path), path.string());
  return SweepReader(path, root).read();
}

}  // namespace spankey
