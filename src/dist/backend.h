// The communicators of a whole run by name (dist.backend).
#pragma once

#include <memory>

#include "base/launch.h"
#include "config/enums.h"
#include "dist/communicator.h"

namespace spankey {

// Backend::self starts no MPI; Backend::auto_ see resolve_backend(). With Backend::nccl it is the communicator of the
// hosts, on top of which the GPUs have theirs. `timeout_seconds`: after a rank has been stopped or cut off for .8 of
// it, the others say so and end with exit code 3 (src/dist/watchdog.h).
std::unique_ptr<Communicator> make_communicator(Backend backend, double timeout_seconds);

// auto_ becomes mpi where the environment shows that a launcher started this process (mpirun, PMIx, PMI, srun with
// more than one task), else self.
Backend resolve_backend(Backend backend, const EnvironmentVariable& variable);

}  // namespace spankey
