// Texts made from the commands of the program: shell completion and the manual page.
#pragma once

#include <CLI/CLI.hpp>

#include <string>
#include <string_view>
#include <vector>

namespace spankey::cli {

// A script that completes commands, options, configuration keys and the names that a key may have. `shell` is bash, zsh
// or fish. Throws Error(bad_input) for any other.
std::string completion_script(const CLI::App& app, std::string_view shell);

// The manual page in section 1, in the language of man (roff). It holds the --help of every command.
std::string manual_page(const CLI::App& app);

}  // namespace spankey::cli
