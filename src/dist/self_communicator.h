// The communicator of a run with one process, which copies nothing and starts no MPI.
#pragma once

#include <memory>

#include "dist/communicator.h"

namespace spankey {

// The deadline has no effect, because there is no other rank to wait for.
std::unique_ptr<Communicator> make_self_communicator(double timeout_seconds);

}  // namespace spankey
