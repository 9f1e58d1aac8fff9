// Reads the JSON header of a key file field by field. What is missing, of another type, out of range or unknown is
// refused in one line.
#pragma once

#include <nlohmann/json.hpp>

#include <cstddef>
#include <cstdint>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "keyring/signing.h"

namespace spankey {

class HeaderFields {
 public:
  // Keeps both. `name` is that of the file. `object` must be a JSON object, or Error(bad_input).
  HeaderFields(const nlohmann::json& object, std::string name);

  std::int64_t integer(const char* field, std::int64_t low, std::int64_t high);
  double number(const char* field, double low, double high);
  bool flag(const char* field);
  std::string text(const char* field, std::size_t most_bytes);  // UTF-8 without control characters
  void bytes(const char* field, std::span<std::uint8_t> out);   // lower-case hexadecimal of exactly that many bytes
  PublicKey public_key(const char* field);
  std::vector<std::int64_t> integers(const char* field, std::int64_t low, std::int64_t high, std::size_t most);
  const nlohmann::json& any(const char* field);  // whose content the caller checks
  bool has(const char* field) const { return object_.contains(field); }

  // Error(bad_input) where the object has a field that was not asked for.
  void require_no_others() const;
  [[noreturn]] void refuse(std::string_view field, std::string_view expected) const;

 private:
  const nlohmann::json& object_;
  std::string name_;
  std::set<std::string, std::less<>> known_;
};

std::string hex_text(std::span<const std::uint8_t> bytes);

}  // namespace spankey
