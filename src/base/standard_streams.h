// Standard input, output and error of the program, whatever they were at its start and become later.
#pragma once

#include <string>

namespace spankey::standard_streams {

// First of all in main():
// - /dev/null takes the place of a stream that is closed: the next file to be opened would get its number, and what is
//   printed would land in that file;
// - standard output is taken over: printing there never fails nor throws in the middle of the work. The failure is kept
//   for flush_output(), and told in the log file of a run that has one.
void take_over();

// Writes out what is buffered. The errno of the first write to standard output that has failed, 0: none. A reader that
// has gone away (`| head`, a terminal that was closed) has read what it wanted: no failure.
int flush_output();

// One line to standard error, which may be gone as well.
void complain(const std::string& line);

}  // namespace spankey::standard_streams
