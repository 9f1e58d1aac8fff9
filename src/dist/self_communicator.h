// The communicator of a run of one process: nothing is copied and no MPI is started.
#pragma once

#include <memory>

#include "dist/communicator.h"

namespace spankey {

// There is nobody to wait for: the deadline has no effect.
std::unique_ptr<Communicator> make_self_communicator(double timeout_seconds);

}  // namespace spankey
