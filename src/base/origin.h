// Says where and when a file was made, for people who find it later.
#pragma once

#include <span>
#include <string>

namespace spankey {

// The present time as "2026-01-31T12:00:00Z" (ISO 8601, UTC).
std::string utc_now();
std::string host_name();
// Joins words with quotes, so that a shell reads them back unchanged.
std::string shell_quoted(std::span<const std::string> words);

}  // namespace spankey
