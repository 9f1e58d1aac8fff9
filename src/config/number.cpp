#include "config/number.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <vector>

#include "config/toml_file.h"
#include "config/value.h"

namespace spankey {
namespace {

constexpr std::string_view digits = "0123456789";

bool all_digits(std::string_view text) {
  return !text.empty() && text.find_first_not_of(digits) == std::string_view::npos;
}

struct Parts {
  std::string_view sign;
  std::string_view before;  // the point
  bool point = false;
  std::string_view after;
  std::string_view exponent;  // with its e
};

// Reads a decimal number, which may lack the digits before or after the point. nullopt for anything else.
std::optional<Parts> split(std::string_view token) {
  Parts parts;
  const auto take = [&token](std::string_view characters) {
    const auto end = std::min(token.find_first_not_of(characters), token.size());
    const auto taken = token.substr(0, end);
    token.remove_prefix(end);
    return taken;
  };
  if (token.starts_with('+') || token.starts_with('-')) {
    parts.sign = token.substr(0, 1);
    token.remove_prefix(1);
  }
  parts.before = take(digits);
  if (token.starts_with('.')) {
    parts.point = true;
    token.remove_prefix(1);
    parts.after = take(digits);
  }
  if (parts.before.empty() && parts.after.empty()) return std::nullopt;
  if (!token.empty()) {
    const auto power = token.substr(
        std::min<std::size_t>(token.size() > 1 && (token[1] == '+' || token[1] == '-') ? 2 : 1, token.size()));
    if ((token[0] != 'e' && token[0] != 'E') || !all_digits(power)) return std::nullopt;
    parts.exponent = token;
  }
  return parts;
}

std::string completed(std::string_view token) {
  const auto parts = split(token);
  if (!parts || !parts->point || (!parts->before.empty() && !parts->after.empty())) return std::string(token);
  const auto or_zero = [](std::string_view part) { return part.empty() ? "0" : part; };
  return fmt::format("{}{}.{}{}", parts->sign, or_zero(parts->before), or_zero(parts->after), parts->exponent);
}

// Calls visit(piece, is_token) for all of `text`. Tokens are separated by quotes, blanks, commas, brackets and the
// like.
template <class Visit>
void for_tokens(std::string_view text, Visit&& visit) {
  constexpr std::string_view ends = " \t\r\n,[]{}=\"'#";
  while (!text.empty()) {
    std::size_t size = std::min(text.find_first_of(ends), text.size());
    const bool token = size > 0;
    if (!token) {
      const bool quote = text[0] == '"' || text[0] == '\'';
      const auto close = quote ? text.find(text[0], 1) : 0;
      size = close == std::string_view::npos ? text.size() : close + 1;
    }
    visit(text.substr(0, size), token);
    text.remove_prefix(size);
  }
}

// An integer that a floating-point form stands for, as it would be written.
std::string as_integer(const Parts& parts) {
  double value = 0.0;
  const auto text = fmt::format("{}{}.{}{}", parts.sign == "-" ? "-" : "", parts.before.empty() ? "0" : parts.before,
                                parts.after.empty() ? "0" : parts.after, parts.exponent);
  std::from_chars(text.data(), text.data() + text.size(), value);
  if (value != std::floor(value) || std::abs(value) >= 0x1p63) return "";
  return value_text(static_cast<std::int64_t>(value));
}

std::string without_zeros(std::string_view number) {
  return std::string(number.substr(std::min(number.find_first_not_of('0'), number.size() - 1)));
}

}  // namespace

std::string with_digits(std::string_view text) {
  std::string out;
  for_tokens(text,
             [&out](std::string_view piece, bool token) { out += token ? completed(piece) : std::string(piece); });
  return out;
}

std::string number_advice(std::string_view token, bool whole) {
  constexpr std::string_view general = "; a number is written 0.5, 1e-3 or 1_000";
  if (const auto parts = split(token)) {
    const bool floating = parts->point || !parts->exponent.empty();
    if (floating && whole) {
      const auto integer = as_integer(*parts);
      return integer.empty() ? "" : fmt::format("; an integer is written {}", integer);
    }
    if (parts->before.size() > 1 && parts->before[0] == '0')
      return fmt::format("; a number is written without leading zeros, {}{}{}", parts->sign == "-" ? "-" : "",
                         without_zeros(parts->before), floating ? "..." : "");
    if (floating) return completed(token) == token ? "" : fmt::format("; a number is written {}", completed(token));
    std::int64_t value = 0;
    const auto number = token.substr(parts->sign == "+" ? 1 : 0);
    if (std::from_chars(number.data(), number.data() + number.size(), value).ec != std::errc{})
      return fmt::format("; integers go up to {}", std::numeric_limits<std::int64_t>::max());
    return "";
  }
  if (const auto comma = token.find(',');
      comma != std::string_view::npos && all_digits(token.substr(comma + 1)) && split(token.substr(0, comma)))
    return fmt::format("; the point of a number is a point, {}.{}", token.substr(0, comma), token.substr(comma + 1));
  const auto word = lower_case(token.substr(token.starts_with('+') || token.starts_with('-') ? 1 : 0));
  if (word.starts_with("inf") || word == "nan") return "; infinity and NaN are no values here";
  return !word.empty() && (all_digits(word.substr(0, 1)) || word[0] == '.') ? std::string(general) : "";
}

std::string line_advice(std::string_view line) {
  std::string advice;
  bool comment = false;
  for_tokens(line.substr(std::min(line.find('='), line.size())), [&](std::string_view piece, bool token) {
    comment = comment || piece == "#";
    if (token && !comment && advice.empty()) advice = number_advice(piece, /*whole=*/false);
  });
  return advice;
}

bool inside(double value, const Bounds& bounds) {
  return std::isfinite(value) && (bounds.low_open ? value > bounds.low : value >= bounds.low) &&
         (bounds.high_open ? value < bounds.high : value <= bounds.high);
}

std::optional<std::int64_t> typed_integer(const std::string& word, const Bounds& bounds) {
  const auto typed = typed_value(word);
  const auto* value = typed.get("value")->as_integer();
  if (!value || !inside(static_cast<double>(value->get()), bounds)) return std::nullopt;
  return value->get();
}

std::optional<double> typed_number(const std::string& word, const Bounds& bounds) {
  const auto typed = typed_value(word);
  const auto value = typed.get("value")->value<double>();  // of an integer as well
  if (!typed.get("value")->is_number() || !value || !inside(*value, bounds)) return std::nullopt;
  return *value;
}

}  // namespace spankey
