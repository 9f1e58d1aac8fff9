// The command line of this process, for whoever compares or records it.
#pragma once

#include <string>
#include <vector>

namespace spankey::command_line {

// By main(), once. Error(bad_input) for a word that is not UTF-8 (it would end up in files that nobody can read again)
// or empty (a shell variable that is not set), naming the flag or the place.
void remember(int argc, const char* const* argv);

// The words after the program's name.
const std::vector<std::string>& words();

}  // namespace spankey::command_line
