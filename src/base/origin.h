// Where and when a thing was made, and by which command: for people who find it later.
#pragma once

#include <span>
#include <string>

namespace spankey {

// "2026-01-31T12:00:00Z" (ISO 8601, UTC).
std::string utc_now();
std::string host_name();
// Words that a shell reads back as they are.
std::string shell_quoted(std::span<const std::string> words);
// Of this process, as it was typed but for the shell's own quotes; empty where /proc does not tell it.
std::string command_line();

}  // namespace spankey
