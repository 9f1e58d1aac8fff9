// One value of the configuration as text, and the text that says which values are accepted.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "config/enums.h"
#include "config/field.h"

namespace spankey {

// The value as TOML on one line. Numbers have the shortest form that reads back as the same bits.
std::string value_text(bool value);
std::string value_text(std::int64_t value);
std::string value_text(double value);
std::string value_text(const std::string& value);

template <ConfigEnum E>
std::string value_text(E value) {
  return value_text(to_string(value));
}

template <class T>
std::string value_text(const std::vector<T>& values) {
  std::string text;
  for (const T& value : values) text += (text.empty() ? "" : ", ") + value_text(value);
  return "[" + text + "]";
}

// Joins words as in `"a", "b" or "c"`.
std::string alternatives(std::span<const std::string_view> words);
// Words for the bounds, as in ` from 1 to 8` or ` > 0 and <= 1`, or nothing.
std::string bounds_text(const Bounds& bounds);
// Returns "; did you mean 'NEAR'?", or nothing where `near` is empty.
std::string did_you_mean(const std::string& near);
// `text` in lower case, as registries and enumerations compare it.
std::string lower_case(std::string_view text);

template <class T>
struct IsList : std::false_type {};
template <class T>
struct IsList<std::vector<T>> : std::true_type {};

// What a field accepts, such as "an integer >= 1", "true or false" or "a list of 2 numbers >= 0 and < 1".
template <class T>
std::string accepted_text(const FieldInfo<T>& field);

namespace detail {

template <class T>
std::string accepted_one(const Bounds& bounds, std::span<const std::string_view> names, bool plural) {
  if constexpr (std::is_same_v<T, bool>) {
    return "true or false";
  } else if constexpr (std::is_same_v<T, std::int64_t>) {
    return (plural ? "integers" : "an integer") + bounds_text(bounds);
  } else if constexpr (std::is_same_v<T, double>) {
    return (plural ? "numbers" : "a number") + bounds_text(bounds);
  } else if constexpr (ConfigEnum<T>) {
    return alternatives(enum_words(T{}));
  } else {
    static_assert(std::is_same_v<T, std::string>);
    if (!names.empty()) return alternatives(names);
    return plural ? "strings" : "a string";
  }
}

}  // namespace detail

template <class T>
std::string accepted_text(const FieldInfo<T>& field) {
  if constexpr (IsList<T>::value) {
    const bool fixed = field.length.min == field.length.max;
    std::string text = "a list of " + (fixed ? fmt::format("{} ", field.length.min) : std::string());
    text += detail::accepted_one<typename T::value_type>(field.bounds, field.names, true);
    if (field.ascending) text += ", strictly ascending";
    if (field.distinct) text += ", none twice";
    if (!fixed && field.length.min > 0) text += ", not empty";
    return text;
  } else {
    const bool no_empty_string = std::is_same_v<T, std::string> && field.length.min > 0 && field.names.empty();
    return detail::accepted_one<T>(field.bounds, field.names, false) + (no_empty_string ? " that is not empty" : "");
  }
}

}  // namespace spankey
