// Fields that the headers of several key files have in common.
#pragma once

#include <nlohmann/json.hpp>

#include <cstdint>
#include <string>
#include <vector>

#include "base/digest.h"
#include "keyring/header_fields.h"

namespace spankey {

// Where a key enters the network: an injection point and how many elements its activation has.
struct KeySite {
  std::int64_t point = 0;
  std::int64_t width = 0;
  bool operator==(const KeySite&) const = default;
};

inline constexpr std::size_t most_key_sites = 1024;
inline constexpr std::int64_t most_key_elements = std::int64_t{1} << 28;  // of all sites together
inline constexpr std::int64_t most_serial = std::int64_t{1} << 53;
inline constexpr std::int64_t latest_time = 253'402'300'799;  // the last second of the year 9999
inline constexpr std::size_t most_name_bytes = 256;           // of a holder's name, or of a reason

void write_sites(nlohmann::json& header, const std::vector<KeySite>& sites);
// Ascending points, and widths whose sum is bounded.
std::vector<KeySite> read_sites(HeaderFields& header);
// Number of elements of a key.
std::int64_t key_elements(const std::vector<KeySite>& sites);

Digest read_digest(HeaderFields& header, const char* field);
// A digest that is kept as text, such as weights_sha256.
std::string read_hex_digest(HeaderFields& header, const char* field);
std::int64_t read_time(HeaderFields& header, const char* field);

// A time as a person reads it, such as "2026-11-30 14:05:09 UTC".
std::string time_text(std::int64_t seconds);

}  // namespace spankey
