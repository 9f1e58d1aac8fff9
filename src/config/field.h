// What a field list says about one configuration key. Every visitor (parse, dump, hash, diff, help, docs) reads it.
#pragma once

#include <cstddef>
#include <limits>
#include <optional>
#include <span>
#include <string_view>
#include <type_traits>

namespace spankey {

// Accepted numbers, for a list those of every element. An open end excludes the bound itself.
struct Bounds {
  double low = -std::numeric_limits<double>::infinity();
  double high = std::numeric_limits<double>::infinity();
  bool low_open = false;
  bool high_open = false;
};
constexpr Bounds at_least(double low) {
  return {.low = low};
}
constexpr Bounds above(double low) {
  return {.low = low, .low_open = true};
}
constexpr Bounds from_to(double low, double high) {
  return {.low = low, .high = high};
}
constexpr Bounds from_below(double low, double high) {
  return {.low = low, .high = high, .high_open = true};
}
constexpr Bounds above_to(double low, double high) {
  return {.low = low, .high = high, .low_open = true};
}

// Accepted number of characters or of list elements.
struct Length {
  std::size_t min = 0;
  std::size_t max = std::numeric_limits<std::size_t>::max();
};

template <class T>
struct FieldInfo {
  std::string_view name = {};
  std::string_view help = {};
  Bounds bounds = {};
  Length length = {};
  bool ascending = false;                        // a list must be strictly ascending, so without repetition
  bool distinct = false;                         // a list must be without repetition
  std::span<const std::string_view> names = {};  // a string must be one of these (config/names.h), in any case
  bool hashed = true;                            // part of config_hash
  bool later = false;                            // hashed only where it differs from its default, as it came later
  std::optional<T> reference = {};               // default under run.compat = "reference", where it differs
};

// The second argument of a visitor. `visit(self.gamma, {.name = "gamma", ...})` takes its type from the first.
template <class T>
using FieldOf = FieldInfo<std::remove_const_t<T>>;

}  // namespace spankey
