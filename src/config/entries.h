// The field lists of a configuration, flattened to text. The resolved file, the hash, the diff, help and docs are made
// from this.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "config/config.h"

namespace spankey {

struct Entry {
  std::string table;
  std::string key;  // "table.key"
  std::string value;
  std::string canonical;  // the value as hash and diff compare it
  std::string accepted;
  std::string reference;  // default under run.compat = "reference" where it differs, else empty
  std::string_view help;
  bool hashed = true;
  bool later = false;  // FieldInfo::later

  std::string_view name() const { return std::string_view(key).substr(table.size() + 1); }
};

// Every key of every table, in the order of the field lists.
std::vector<Entry> entries(const Config& config);

// The canonical values of the hashed keys, in the order of the field lists. config_diff compares these, at a tenth of
// the cost of entries().
std::vector<std::string> hashed_values(const Config& config);

// Sets each key that has another default under run.compat = "reference" to that default.
void apply_reference_defaults(Config& config);

// Checks the rules between keys. Throws Error(bad_input) as fail_key does.
void check_rules(const Config& config);

}  // namespace spankey
