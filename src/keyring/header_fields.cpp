#include "keyring/header_fields.h"

#include <fmt/format.h>

#include <utility>

#include "base/error.h"
#include "base/text.h"

namespace spankey {
namespace {

// The value of a hexadecimal digit in lower case, -1 for anything else.
int digit_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

}  // namespace

HeaderFields::HeaderFields(const nlohmann::json& object, std::string name) : object_(object), name_(std::move(name)) {
  if (!object_.is_object()) fail_input("{}: the header is not a JSON object", name_);
}

const nlohmann::json& HeaderFields::any(const char* field) {
  known_.insert(field);
  const auto found = object_.find(field);
  if (found == object_.end()) fail_input("{}: the header has no field '{}'", name_, field);
  return *found;
}

void HeaderFields::refuse(std::string_view field, std::string_view expected) const {
  constexpr std::size_t shown = 60;
  const auto found = object_.find(field);
  auto text = found == object_.end() ? "nothing" : found->dump(-1, ' ', /*ensure_ascii=*/true);
  if (text.size() > shown) text = text.substr(0, shown) + "...";
  fail_input("{}: header field '{}' is {}; accepted: {}", name_, field, text, expected);
}

std::int64_t HeaderFields::integer(const char* field, std::int64_t low, std::int64_t high) {
  const auto& value = any(field);
  // An unsigned number above the range of int64 would be read as a negative one.
  const bool fits = value.is_number_integer() &&
                    (!value.is_number_unsigned() || value.get<std::uint64_t>() <= std::uint64_t{INT64_MAX});
  if (!fits || value.get<std::int64_t>() < low || value.get<std::int64_t>() > high)
    refuse(field, fmt::format("an integer from {} to {}", low, high));
  return value.get<std::int64_t>();
}

double HeaderFields::number(const char* field, double low, double high) {
  const auto& value = any(field);
  if (!value.is_number() || !(value.get<double>() >= low && value.get<double>() <= high))
    refuse(field, fmt::format("a number from {} to {}", low, high));
  return value.get<double>();
}

bool HeaderFields::flag(const char* field) {
  const auto& value = any(field);
  if (!value.is_boolean()) refuse(field, "true or false");
  return value.get<bool>();
}

std::string HeaderFields::text(const char* field, std::size_t most_bytes) {
  const auto& value = any(field);
  if (!value.is_string() || value.get_ref<const std::string&>().size() > most_bytes ||
      escaped(value.get_ref<const std::string&>()) != value.get_ref<const std::string&>())
    refuse(field, fmt::format("a text of up to {} bytes on one line", most_bytes));
  return value.get<std::string>();
}

void HeaderFields::bytes(const char* field, std::span<std::uint8_t> out) {
  const auto& value = any(field);
  const auto expected = [&] { return fmt::format("{} hexadecimal digits in lower case", 2 * out.size()); };
  if (!value.is_string()) refuse(field, expected());
  const auto& text = value.get_ref<const std::string&>();
  if (text.size() != 2 * out.size()) refuse(field, expected());
  for (std::size_t i = 0; i < out.size(); ++i) {
    const int high = digit_value(text[2 * i]), low = digit_value(text[2 * i + 1]);
    if (high < 0 || low < 0) refuse(field, expected());
    out[i] = static_cast<std::uint8_t>(16 * high + low);
  }
}

PublicKey HeaderFields::public_key(const char* field) {
  PublicKey key;
  bytes(field, key);
  return key;
}

std::vector<std::int64_t> HeaderFields::integers(const char* field, std::int64_t low, std::int64_t high,
                                                 std::size_t most) {
  const auto& values = any(field);
  const auto expected = [&] { return fmt::format("a list of up to {} integers from {} to {}", most, low, high); };
  if (!values.is_array() || values.size() > most) refuse(field, expected());
  std::vector<std::int64_t> result;
  for (const auto& value : values) {
    if (!value.is_number_integer() || (value.is_number_unsigned() && value.get<std::uint64_t>() > INT64_MAX))
      refuse(field, expected());
    result.push_back(value.get<std::int64_t>());
    if (result.back() < low || result.back() > high) refuse(field, expected());
  }
  return result;
}

void HeaderFields::require_no_others() const {
  for (const auto& [field, value] : object_.items())
    if (!known_.contains(field)) fail_input("{}: the header has an unknown field '{}'", name_, escaped(field));
}

std::string hex_text(std::span<const std::uint8_t> bytes) {
  std::string hex;
  hex.reserve(2 * bytes.size());
  for (const std::uint8_t byte : bytes) fmt::format_to(std::back_inserter(hex), "{:02x}", byte);
  return hex;
}

}  // namespace spankey
