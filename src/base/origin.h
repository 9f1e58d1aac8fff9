// Records where, when and by which command a file was made, for people who find it later.
#pragma once

#include <span>
#include <string>

namespace spankey {

// The present time as "2026-01-31T12:00:00Z" (ISO 8601, UTC).
std::string utc_now();
std::string host_name();
// Joins words with quotes, so that a shell reads them back unchanged.
std::string shell_quoted(std::span<const std::string> words);
// The command line of this process as it was typed, except for the shell's own quotes. Empty where /proc does not show
// it.
std::string command_line();

}  // namespace spankey
