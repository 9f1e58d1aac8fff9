// The command line of this process, for code that compares or records it.
#pragma once

#include <string>
#include <vector>

namespace spankey::command_line {

// main() calls this once. It throws Error(bad_input), naming the flag or the position, for a word that is not UTF-8 (it
// would end up in files that nobody can read again) or that is empty (a shell variable that is not set).
void remember(int argc, const char* const* argv);

// Returns the words after the program's name.
const std::vector<std::string>& words();

// Returns the program's name and the words, with quotes from which a shell reads them back. Empty before remember().
std::string text();

}  // namespace spankey::command_line
