// Finds the cores of the machine that a process may run on.
#pragma once

#include <sys/types.h>

#include <vector>

namespace spankey {

// Returns the numbers of these cores, in order. `process` 0 is this one. Empty where the system does not tell.
std::vector<int> allowed_cores(pid_t process = 0);

}  // namespace spankey
