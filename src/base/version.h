// Which program this is.
#pragma once

#include <string>

namespace spankey {

// "0.1.0 (git 1a2b3c4d)"; the revision is that of the last build, with "+" where the tree had changes.
std::string program_version();

}  // namespace spankey
