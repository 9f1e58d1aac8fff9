// Numbers and times as people read them.
#pragma once

#include <string>

namespace spankey {

// "1 h 12 min", "4 min 05 s", "12 s"
std::string duration_text(double seconds);

}  // namespace spankey
