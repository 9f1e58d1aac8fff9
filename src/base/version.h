// The version of this program.
#pragma once

#include <string>

namespace spankey {

// A text such as "0.1.0 (git 1a2b3c4d)". The revision is that of the last build, with "+" where the tree had changes.
std::string program_version();

}  // namespace spankey
