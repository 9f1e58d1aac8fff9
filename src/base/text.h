// Words times as people read them.
#pragma once

#include <string>

namespace spankey {

// Returns text such as "1 h 12 min", "4 min 05 s" or "12 s".
std::string duration_text(double seconds);

}  // namespace spankey
