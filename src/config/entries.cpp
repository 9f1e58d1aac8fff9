#include "config/entries.h"

#include <optional>
#include <type_traits>
#include <utility>

#include "config/value.h"

namespace spankey {
namespace {

// Makes an Entry of each field of one table.
struct ToEntries {
  std::string table;
  std::vector<Entry>& out;

  template <class T>
  void operator()(const T& value, const FieldInfo<T>& field) const {
    Entry entry;
    entry.table = table;
    entry.key = table + "." + std::string(field.name);
    entry.value = value_text(value);
    entry.canonical = !field.names.empty() ? lower_case(entry.value) : entry.value;
    entry.accepted = accepted_text(field);
    if (field.reference) entry.reference = value_text(*field.reference);
    entry.help = field.help;
    entry.hashed = field.hashed;
    entry.later = field.later;
    out.push_back(std::move(entry));
  }
};

struct ToHashedValues {
  std::vector<std::string>& out;

  template <class T>
  void operator()(const T& value, const FieldInfo<T>& field) const {
    if (field.hashed) out.push_back(!field.names.empty() ? lower_case(value_text(value)) : value_text(value));
  }
};

struct ToReference {
  template <class T>
  void operator()(T& value, const FieldInfo<T>& field) const {
    if (field.reference) value = *field.reference;
  }
};

}  // namespace

std::vector<Entry> entries(const Config& config) {
  std::vector<Entry> out;
  Config::tables(config, [&out]<class Table>(const Table& table, std::string_view name, std::string_view) {
    Table::fields(table, ToEntries{std::string(name), out});
  });
  return out;
}

std::vector<std::string> hashed_values(const Config& config) {
  std::vector<std::string> out;
  Config::tables(config, [&out]<class Table>(const Table& table, std::string_view, std::string_view) {
    Table::fields(table, ToHashedValues{out});
  });
  return out;
}

void apply_reference_defaults(Config& config) {
  Config::tables(config, []<class Table>(Table& table, std::string_view, std::string_view) {
    Table::fields(table, ToReference{});
  });
}

}  // namespace spankey
