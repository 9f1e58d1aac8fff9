// Numbers and durations as a person reads them, and lines of text.
#pragma once

#include <string>

namespace spankey {

// Text such as "1 h 12 min", "4 min 05 s" or "12 s".
std::string duration_text(double seconds);

// The same for a narrow place, such as "1:12:05", "4:05" or "0:12". A negative duration counts as none.
std::string clock_text(double seconds);

// "1,234,567"
std::string group_thousands(long number);

// The last line of a text that is not blank, without blanks at its end. Empty where there is none.
std::string last_line_of(const std::string& text);

// Whether a line that is written to this descriptor can be written over. It is a terminal, and TERM is set and
// not "dumb".
bool redraws_lines(int descriptor);

}  // namespace spankey
