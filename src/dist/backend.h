// The communicators of a whole run by name (dist.backend).
#pragma once

#include <memory>

#include "base/launch.h"
#include "config/enums.h"
#include "dist/communicator.h"

namespace spankey {

// Returns the communicator of all ranks of the run. Backend::self starts no MPI, and resolve_backend() decides what
// Backend::auto_ means. Backend::nccl gives the communicator of the hosts, on top of which the GPUs have theirs. When a
// rank has been stopped or cut off for 0.8 of `timeout_seconds`, the others say so and end with exit code 3
// (src/dist/watchdog.h).
std::unique_ptr<Communicator> make_communicator(Backend backend, double timeout_seconds);

// Returns mpi for auto_ where the environment shows that a launcher started this process (mpirun, PMIx, PMI, srun with
// more than one task), else self. Returns any other back end as it is.
Backend resolve_backend(Backend backend, const EnvironmentVariable& variable);

}  // namespace spankey
