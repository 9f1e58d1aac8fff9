#include "keyring/key_facts.h"

#include <fmt/chrono.h>

#include <ctime>

namespace spankey {

void write_sites(nlohmann::json& header, const std::vector<KeySite>& sites) {
  auto points = nlohmann::json::array(), widths = nlohmann::json::array();
  for (const auto& site : sites) {
    points.push_back(site.point);
    widths.push_back(site.width);
  }
  header["points"] = std::move(points);
  header["widths"] = std::move(widths);
}

std::vector<KeySite> read_sites(HeaderFields& header) {
  constexpr std::int64_t most_point = 1 << 20;
  const auto points = header.integers("points", 0, most_point, most_key_sites);
  const auto widths = header.integers("widths", 1, most_key_elements, most_key_sites);
  if (points.empty() || points.size() != widths.size()) header.refuse("widths", "one width for each of 'points'");
  std::vector<KeySite> sites;
  for (std::size_t i = 0; i < points.size(); ++i) {
    if (i > 0 && points[i] <= points[i - 1]) header.refuse("points", "ascending numbers");
    sites.push_back({points[i], widths[i]});
  }
  if (key_elements(sites) > most_key_elements)
    header.refuse("widths", fmt::format("a sum of up to {}", most_key_elements));
  return sites;
}

std::int64_t key_elements(const std::vector<KeySite>& sites) {
  std::int64_t sum = 0;
  for (const auto& site : sites) sum += site.width;
  return sum;
}

Digest read_digest(HeaderFields& header, const char* field) {
  Digest digest;
  header.bytes(field, digest);
  return digest;
}

std::string read_hex_digest(HeaderFields& header, const char* field) {
  return to_hex(read_digest(header, field));
}

std::int64_t read_time(HeaderFields& header, const char* field) {
  return header.integer(field, 0, latest_time);
}

std::string time_text(std::int64_t seconds) {
  return fmt::format("{:%Y-%m-%d %H:%M:%S} UTC", fmt::gmtime(static_cast<std::time_t>(seconds)));
}

}  // namespace spankey
