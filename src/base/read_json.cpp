#include "base/read_json.h"

#include <utility>

#include "base/error.h"
#include "base/file.h"

namespace spankey {

nlohmann::json read_json(const std::filesystem::path& path) {
  auto json = read_json_if_whole(path);
  if (!json) fail_input("{}: expected JSON, an object", path.string());
  return *std::move(json);
}

std::optional<nlohmann::json> read_json_if_whole(const std::filesystem::path& path) {
  auto json = nlohmann::json::parse(read_text(path), nullptr, /*allow_exceptions=*/false);
  return json.is_object() ? std::optional(std::move(json)) : std::nullopt;
}

}  // namespace spankey
