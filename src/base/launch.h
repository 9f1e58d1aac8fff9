// What the environment tells about the launcher that has started this process (mpirun, mpiexec, srun).
#pragma once

#include <functional>
#include <optional>
#include <string>

namespace spankey {

// The value of an environment variable, nullptr where it is not set.
using EnvironmentVariable = std::function<const char*(const char*)>;

// Known before MPI is started.
struct Launch {
  int rank = 0;        // among the processes that were started together
  int size = 1;        // how many those are, or at least are
  std::string origin;  // the variable that says so, "PMI_SIZE = 4"; empty where no launcher has left its mark
};

// Slurm's SLURM_PROCID and SLURM_NTASKS are believed in a step only (srun): a batch script and the shell of salloc
// carry them as well, and are one process. Of several launchers inside of one another the one that has started several
// processes counts.
Launch read_launch(const EnvironmentVariable& variable);
Launch read_launch();  // of this process

// SLURM_NTASKS, where a job has several tasks, and this process was started without srun, mpirun or the like.
std::optional<int> unused_tasks(const EnvironmentVariable& variable);

}  // namespace spankey
