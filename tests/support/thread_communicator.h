// A communicator between threads of one process, for tests of what is built on communicators.
#pragma once

#include <memory>
#include <vector>

#include "dist/communicator.h"

namespace spankey {

// `size` communicators for `size` threads of this process. A missed deadline throws instead of ending the process.
std::vector<std::unique_ptr<Communicator>> make_thread_communicators(int size, double timeout_seconds = 30);

}  // namespace spankey
