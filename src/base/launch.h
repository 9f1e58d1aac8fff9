// What the environment says about the launcher that started this process (mpirun, mpiexec, srun).
#pragma once

#include <functional>
#include <optional>
#include <string>

namespace spankey {

// Returns the value of an environment variable, or nullptr where it is not set.
using EnvironmentVariable = std::function<const char*(const char*)>;

// What is known before MPI is started.
struct Launch {
  int rank = 0;        // among the processes that were started together
  int size = 1;        // how many those are, or at least are
  std::string origin;  // the variable that says so, "PMI_SIZE = 4", or empty without a launcher
};

// SLURM_PROCID and SLURM_NTASKS are used only inside a step (srun). A batch script and the shell of salloc carry them
// as well, although they are one process. If launchers are nested, the one that started several processes counts.
Launch read_launch(const EnvironmentVariable& variable);
Launch read_launch();  // reads the environment of this process

// SLURM_NTASKS, if a job has several tasks and this process was started without srun, mpirun or the like.
std::optional<int> unused_tasks(const EnvironmentVariable& variable);

}  // namespace spankey
