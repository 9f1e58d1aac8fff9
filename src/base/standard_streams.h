// Standard input, output and error of the program, whatever their state at its start and later.
#pragma once

#include <string>

namespace spankey::standard_streams {

// Call this first in main().
// - /dev/null replaces each stream that is closed. Otherwise the next file to be opened would get its number, and
//   what is printed would end up in that file.
// - Standard output is taken over, so that printing neither fails nor throws in the middle of the work. The failure is
//   kept for flush_output(), and is logged where the run has a log file.
void take_over();

// Flushes standard output and returns the errno of the first write to it that failed, or 0. It is no failure if the
// reader has gone away (`| head`, a terminal that was closed), since that reader has read what it wanted.
int flush_output();

// True where -q was given, here or to the program that has started this one. Progress and notes are left out then.
bool are_quiet();

// Prints one line to standard error, which may be closed as well.
void complain(const std::string& line);

}  // namespace spankey::standard_streams
