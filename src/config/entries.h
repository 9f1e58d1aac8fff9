// The field lists of a configuration, flattened to text: what dump, hash, diff, help and docs are made of.
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

  std::string_view name() const { return std::string_view(key).substr(table.size() + 1); }
};

// Every key of every table, in the order of the field lists.
std::vector<Entry> entries(const Config& config);

// The canonical values of the keys that are in the hash, in the order of the field lists: what config_diff compares, at
// a tenth of the cost of entries().
std::vector<std::string> hashed_values(const Config& config);

// Gives the keys that differ under run.compat = "reference" their default there.
void apply_reference_defaults(Config& config);

// The rules between keys; Error(bad_input) as from fail_key.
void check_rules(const Config& config);

}  // namespace spankey
