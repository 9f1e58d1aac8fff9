#include "config/value.h"

#include <algorithm>
#include <cmath>

namespace spankey {
namespace {

// A person reads a bound, so it is 16 or 0.5 rather than 16.0.
std::string bound_text(double bound) {
  const bool whole = bound == std::floor(bound) && std::abs(bound) < 1e15;
  return whole ? fmt::format("{}", static_cast<std::int64_t>(bound)) : fmt::format("{}", bound);
}

}  // namespace

std::string value_text(bool value) {
  return value ? "true" : "false";
}

std::string value_text(std::int64_t value) {
  return fmt::format("{}", value);
}

std::string value_text(double value) {
  std::string text = fmt::format("{}", value);
  // Without a point, an exponent or a letter TOML would read an integer.
  if (text.find_first_not_of("+-0123456789") == std::string::npos) text += ".0";
  return text;
}

std::string value_text(const std::string& value) {
  std::string text = "\"";
  for (const char c : value) {
    if (c == '"' || c == '\\') {
      text += '\\';
      text += c;
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      text += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
    } else {
      text += c;
    }
  }
  return text + "\"";
}

std::string alternatives(std::span<const std::string_view> words) {
  std::string text;
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (i > 0) text += i + 1 == words.size() ? " or " : ", ";
    text += fmt::format("\"{}\"", words[i]);
  }
  return text;
}

std::string bounds_text(const Bounds& bounds) {
  const bool low = std::isfinite(bounds.low);
  const bool high = std::isfinite(bounds.high);
  if (low && high && !bounds.low_open && !bounds.high_open) {
    return fmt::format(" from {} to {}", bound_text(bounds.low), bound_text(bounds.high));
  }
  std::string text;
  if (low) text += fmt::format(" {} {}", bounds.low_open ? ">" : ">=", bound_text(bounds.low));
  if (low && high) text += " and";
  if (high) text += fmt::format(" {} {}", bounds.high_open ? "<" : "<=", bound_text(bounds.high));
  return text;
}

std::string did_you_mean(const std::string& near) {
  return near.empty() ? "" : fmt::format("; did you mean '{}'?", near);
}

std::string lower_case(std::string_view text) {
  std::string lower(text);
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  return lower;
}

}  // namespace spankey
