// TOML to Config.
#include <algorithm>
#include <cmath>
#include <deque>
#include <optional>
#include <span>
#include <system_error>
#include <tuple>

#include "base/error.h"
#include "base/file.h"
#include "config/config.h"
#include "config/config_text.h"
#include "config/entries.h"
#include "config/names.h"
#include "config/number.h"
#include "config/toml_file.h"
#include "config/value.h"

namespace spankey {
namespace {

// One value as the user wrote it.
struct Written {
  std::string table;
  std::string key;
  const toml::node* node = nullptr;
  std::string place;                // "FILE:LINE" or "command line"
  std::optional<std::string> word;  // an override as typed

  std::string path() const { return table.empty() ? key : table + "." + key; }
};

// ---- One value ----

// False when the node has the wrong type or a value that is not accepted. `out` is then unspecified. A name from a
// registry is taken as it is written there.
template <class T>
bool read_one(const toml::node& node, const Bounds& bounds, std::span<const std::string_view> names, T& out) {
  if constexpr (std::is_same_v<T, bool>) {
    const auto* value = node.as_boolean();
    if (value) out = value->get();
    return value != nullptr;
  } else if constexpr (std::is_same_v<T, std::int64_t>) {
    const auto* value = node.as_integer();
    if (value) out = value->get();
    return value && inside(static_cast<double>(out), bounds);
  } else if constexpr (std::is_same_v<T, double>) {
    if (const auto* whole = node.as_integer()) {
      out = static_cast<double>(whole->get());
    } else if (const auto* value = node.as_floating_point()) {
      out = value->get();
    } else {
      return false;
    }
    return inside(out, bounds);
  } else if constexpr (ConfigEnum<T>) {
    const auto* value = node.as_string();
    constexpr auto words = enum_words(T{});
    const auto word = value ? std::find(words.begin(), words.end(), lower_case(value->get())) : words.end();
    out = static_cast<T>(word - words.begin());
    return word != words.end();
  } else {
    const auto* value = node.as_string();
    if (!value) return false;
    out = value->get();
    if (names.empty()) return true;
    const auto name = std::find_if(names.begin(), names.end(), [&](auto known) { return same_name(known, out); });
    if (name != names.end()) out = *name;
    return name != names.end();
  }
}

bool inside(std::size_t size, const Length& length) {
  return size >= length.min && size <= length.max;
}

template <class T>
bool read(const toml::node& node, const FieldInfo<T>& field, T& out) {
  if constexpr (IsList<T>::value) {
    const auto* list = node.as_array();
    if (!list || !inside(list->size(), field.length)) return false;
    out.clear();
    for (const toml::node& element : *list) {
      typename T::value_type value{};
      if (!read_one(element, field.bounds, field.names, value)) return false;
      if (field.ascending && !out.empty() && !(out.back() < value)) return false;
      if (field.distinct && std::find(out.begin(), out.end(), value) != out.end()) return false;
      out.push_back(value);
    }
    return true;
  } else {
    if (!read_one(node, field.bounds, field.names, out)) return false;
    if constexpr (std::is_same_v<T, std::string>) return inside(out.size(), field.length);
    return true;
  }
}

template <class T>
struct ElementOf {
  using Type = T;
};
template <class T>
struct ElementOf<std::vector<T>> {
  using Type = T;
};

// Returns "; did you mean 'x'?" for the first string that is not an accepted word.
template <class T>
std::string near_word(const toml::node& node, std::span<const std::string_view> words) {
  if constexpr (IsList<T>::value) {
    if (const auto* list = node.as_array()) {
      for (const toml::node& element : *list) {
        const std::string near = near_word<typename T::value_type>(element, words);
        if (!near.empty()) return near;
      }
      return "";
    }
  }
  const auto* value = node.as_string();
  const auto is_it = [&](std::string_view word) { return same_name(word, value->get()); };
  if (!value || std::any_of(words.begin(), words.end(), is_it)) return "";
  return did_you_mean(nearest(value->get(), std::vector<std::string>(words.begin(), words.end())));
}

// Advice for a value that was refused, which is the nearest word, or how a number or a list is written.
template <class T>
std::string advice(const Written& written, const FieldInfo<T>& field) {
  using Element = typename ElementOf<T>::Type;
  if constexpr (ConfigEnum<Element>) {
    constexpr auto words = enum_words(Element{});
    return near_word<T>(*written.node, words);
  } else if constexpr (std::is_same_v<Element, std::string>) {
    return field.names.empty() ? "" : near_word<T>(*written.node, field.names);
  } else if constexpr (!std::is_same_v<Element, bool>) {
    const auto& node = *written.node;
    if (IsList<T>::value && written.word && !node.is_array())
      return fmt::format("; a list is written [{}]", *written.word);
    if (IsList<T>::value || (node.is_string() && !written.word)) return "";
    return number_advice(written.word ? *written.word : node_text(node), std::is_same_v<Element, std::int64_t>);
  }
  return "";
}

// Visits one table and stores `written` in the field of its name.
struct Store {
  const Written& written;
  bool& found;

  template <class T>
  void operator()(T& value, const FieldInfo<T>& field) const {
    if (field.name != written.key) return;
    found = true;
    if constexpr (std::is_same_v<T, std::string>) {
      // run.name=2026 on the command line means the text.
      if (written.word && !written.node->is_string()) {
        value = *written.word;
        return;
      }
    }
    if (!read(*written.node, field, value)) {
      fail_input("{}: {} = {}: accepted: {}{}", written.place, written.path(), shown(node_text(*written.node)),
                 accepted_text(field), advice(written, field));
    }
  }
};

// ---- The names that exist ----

struct Names {
  std::vector<std::string> tables;
  std::vector<std::string> keys;   // "table.key"
  std::vector<std::string> plain;  // "key", in step with keys
  std::vector<std::string> owner;  // "table", likewise
};

const Names& known_names() {
  static const Names names = [] {
    Names result;
    for (const Entry& entry : entries(Config{})) {
      if (result.tables.empty() || result.tables.back() != entry.table) result.tables.push_back(entry.table);
      result.keys.push_back(entry.key);
      result.plain.emplace_back(entry.name());
      result.owner.push_back(entry.table);
    }
    return result;
  }();
  return names;
}

bool is_table_name(const std::string& name) {
  const auto& tables = known_names().tables;
  return std::find(tables.begin(), tables.end(), name) != tables.end();
}

std::vector<std::string> keys_of(const std::string& table) {
  std::vector<std::string> result;
  const Names& names = known_names();
  for (std::size_t i = 0; i < names.keys.size(); ++i) {
    if (names.owner[i] == table) result.push_back(names.plain[i]);
  }
  return result;
}

// The key in the wrong table first, then a misspelling in the right one, then a misspelling anywhere.
std::string nearest_key(const std::string& table, const std::string& key) {
  const Names& names = known_names();
  const auto same = std::find(names.plain.begin(), names.plain.end(), lower_case(key));
  const auto own = keys_of(table);
  const bool own_in_other_case = std::find(own.begin(), own.end(), lower_case(key)) != own.end();
  if (same != names.plain.end() && !own_in_other_case)
    return names.keys[static_cast<std::size_t>(same - names.plain.begin())];
  const std::string near = nearest(key, own);
  if (!near.empty()) return table + "." + near;
  const std::string elsewhere = nearest(key, names.plain);
  const auto index = std::find(names.plain.begin(), names.plain.end(), elsewhere) - names.plain.begin();
  return elsewhere.empty() ? "" : names.keys[static_cast<std::size_t>(index)];
}

[[noreturn]] void fail_unknown_table(const std::string& place, const std::string& name, const toml::node& node) {
  const Names& names = known_names();
  const std::string accepted = fmt::format("{}", fmt::join(names.tables, ", "));
  if (node.is_table()) {
    fail_input("{}: [{}]: unknown table; accepted: {}{}", place, shown(name), accepted,
               did_you_mean(nearest(name, names.tables)));
  }
  fail_input("{}: {} = {}: unknown key; accepted: keys inside the tables {}{}", place, shown(name),
             shown(node_text(node)), accepted, did_you_mean(nearest_key("", name)));
}

[[noreturn]] void fail_unknown_key(const Written& written) {
  if (is_table_name(written.path()))
    fail_input("{}: {} = {}: accepted: a table, [{}]", written.place, written.path(), shown(node_text(*written.node)),
               written.path());
  if (written.node->is_table()) fail_unknown_table(written.place, written.path(), *written.node);
  fail_input("{}: {} = {}: unknown key; accepted in [{}]: {}{}", written.place, shown(written.path()),
             shown(node_text(*written.node)), written.table, fmt::join(keys_of(written.table), ", "),
             did_you_mean(nearest_key(written.table, written.key)));
}

// ---- The file ----

// The key in front of all tables that names the file whose values hold where this file sets no other.
constexpr std::string_view base_key = "base";

using FoundValues = std::vector<std::tuple<toml::source_position, Written>>;

void add_values(const std::string& table, const toml::table& values, const std::string& name, FoundValues& found) {
  for (const auto& [key_name, node] : values) {
    const std::string key(key_name.str()), below = table + "." + key;
    if (node.is_table() && is_table_name(below)) {
      add_values(below, *node.as_table(), name, found);
      continue;
    }
    const toml::source_position begin = key_name.source().begin;
    found.emplace_back(begin, Written{table, key, &node, fmt::format("{}:{}", name, begin.line), {}});
  }
}

// The values of a file in the order of its lines.
std::vector<Written> written_values(const toml::table& root, const std::string& name) {
  FoundValues found;
  for (const auto& [table_key, table_node] : root) {
    const std::string table(table_key.str());
    if (table == base_key && table_node.is_string()) {
      fail_input("{}:{}: base = {}: accepted: in a configuration that is read from a file of its own", name,
                 table_key.source().begin.line, shown(node_text(table_node)));
    }
    const std::string table_place = fmt::format("{}:{}", name, table_key.source().begin.line);
    if (!is_table_name(table)) fail_unknown_table(table_place, table, table_node);
    if (!table_node.is_table()) {
      fail_input("{}: {} = {}: accepted: a table, [{}]", table_place, table, shown(node_text(table_node)), table);
    }
    add_values(table, *table_node.as_table(), name, found);
  }
  std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return std::get<0>(a) < std::get<0>(b); });
  std::vector<Written> values;
  for (auto& [position, written] : found) values.push_back(std::move(written));
  return values;
}

// ---- The command line ----

std::string trimmed(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(" \t");
  if (begin == std::string_view::npos) return "";
  return std::string(text.substr(begin, text.find_last_not_of(" \t") - begin + 1));
}

Written override_written(const std::string& text, std::deque<toml::table>& storage) {
  const std::size_t equals = text.find('=');
  if (equals == std::string::npos) {
    fail_input("command line: {}: accepted: table.key=value, such as key.gamma=1.0", shown(value_text(text)));
  }
  const std::string path = trimmed(std::string_view(text).substr(0, equals));
  const std::string word = trimmed(std::string_view(text).substr(equals + 1));
  storage.push_back(typed_value(word));
  const toml::node* node = storage.back().get("value");
  // The table of "train.early_stop.metric" is "train.early_stop".
  std::size_t dot = path.rfind('.');
  if (dot == std::string::npos || !is_table_name(path.substr(0, dot))) dot = path.find('.');
  if (dot == std::string::npos) fail_unknown_table("command line", path, *node);
  Written written{path.substr(0, dot), path.substr(dot + 1), node, "command line", word};
  if (!is_table_name(written.table)) {
    fail_input("command line: {} = {}: unknown table '{}'; accepted: {}{}", shown(path), shown(node_text(*node)),
               shown(written.table), fmt::join(known_names().tables, ", "),
               did_you_mean(nearest(written.table, known_names().tables)));
  }
  return written;
}

void store(const Written& written, Config& config) {
  bool found = false;
  Config::tables(config, [&]<class Table>(Table& table, std::string_view name, std::string_view) {
    if (name == written.table) Table::fields(table, Store{written, found});
  });
  if (!found) fail_unknown_key(written);
  config.origins[written.path()] = written.place;
}

// `values` in the order in which they hold, the last one of a key at last.
Config resolve(std::vector<Written> values, const std::vector<std::string>& overrides) {
  std::deque<toml::table> storage;  // never moves what Written points to
  for (const std::string& text : overrides) values.push_back(override_written(text, storage));

  Config config;
  // run.compat decides the defaults of other keys, wherever it stands.
  for (const Written& written : values) {
    if (written.path() == "run.compat") store(written, config);
  }
  if (config.run.compat == Compat::reference) apply_reference_defaults(config);
  for (const Written& written : values) store(written, config);
  check_rules(config);
  return config;
}

toml::table read_toml_file(const std::filesystem::path& file) {
  std::error_code error;
  const auto status = std::filesystem::status(file, error);
  if (!std::filesystem::exists(status)) {
    // A folder that may not be searched or a mount that is gone is another thing than a name mistyped.
    if (!std::filesystem::status_known(status)) fail_system(error, "cannot read {}", file.string());
    fail_input("{}: no such file: accepted: a TOML configuration", file.string());
  }
  if (std::filesystem::is_directory(status)) {
    fail_input("{}: a folder: accepted: a TOML configuration", file.string());
  }
  toml::table root = parse_toml(read_text(file), file.string());
  // A file that holds nothing is more likely lost than meant.
  if (root.empty()) {
    fail_input("{}: holds no key: accepted: a TOML configuration (spankey config --help lists the keys)",
               file.string());
  }
  return root;
}

// Reads a file after those that it is based on. Their tables go to `storage`, which never moves them.
std::vector<Written> values_of_file(const std::filesystem::path& file, std::deque<toml::table>& storage,
                                    std::vector<std::filesystem::path> seen = {}) {
  constexpr std::size_t most_bases = 16;
  storage.push_back(read_toml_file(file));
  toml::table& root = storage.back();
  std::vector<Written> values;
  if (const auto base = root.find(base_key); base != root.end() && !base->second.is_table()) {
    const auto place =
        fmt::format("{}:{}: base = {}", file.string(), base->first.source().begin.line, shown(node_text(base->second)));
    const auto name = base->second.value_exact<std::string>();
    if (!name || name->empty()) fail_input("{}: accepted: the path of a configuration, relative to this file", place);
    std::error_code error;
    seen.push_back(std::filesystem::weakly_canonical(file, error));
    const auto next = file.parent_path() / *name;
    if (!std::filesystem::exists(next, error)) fail_input("{}: no such file: {}", place, next.string());
    if (std::find(seen.begin(), seen.end(), std::filesystem::weakly_canonical(next, error)) != seen.end() ||
        seen.size() > most_bases)
      fail_input("{}: accepted: a file that is not based on this one", place);
    values = values_of_file(next, storage, seen);
    root.erase(base);
  }
  for (Written& written : written_values(root, file.string())) values.push_back(std::move(written));
  return values;
}

}  // namespace

Config parse_config(std::string_view toml, const std::string& name, const std::vector<std::string>& overrides) {
  const toml::table root = parse_toml(toml, name);
  return resolve(written_values(root, name), overrides);
}

Config load_config(const std::filesystem::path& file, const std::vector<std::string>& overrides) {
  std::deque<toml::table> storage;
  return resolve(values_of_file(file, storage), overrides);
}

std::string config_text(const std::filesystem::path& file) {
  if (!read_toml_file(file).contains(base_key)) return read_text(file);
  const Config config = load_config(file);
  std::string text, table;
  for (const Entry& entry : entries(config)) {
    if (!config.origins.contains(entry.key)) continue;
    if (entry.table != table) text += fmt::format("[{}]\n", table = entry.table);
    text += fmt::format("{} = {}\n", entry.name(), entry.value);
  }
  return text;
}

}  // namespace spankey
