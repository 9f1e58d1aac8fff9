// What the environment says about the launcher that started this process (mpirun, mpiexec, srun), and how one is
// started.
#pragma once

#include <sys/types.h>

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

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

// Returns SLURM_NTASKS where a job has several tasks and this process was started without srun, mpirun or the like.
std::optional<int> unused_tasks(const EnvironmentVariable& variable);

// The maker of an mpirun. Hydra is the mpirun of MPICH and of Intel MPI.
enum class Mpirun { open_mpi, hydra };

// Tells the maker from what `mpirun --version` prints. A text that names neither counts as Open MPI's.
Mpirun mpirun_of(std::string_view version);
// Returns the maker of the mpirun in PATH, which is asked once.
Mpirun mpirun_here();

// Returns the first words of the command that starts `ranks` ranks on this machine, which share its cores. The
// environment must be that of allow_more_ranks_than_cores().
std::vector<std::string> mpirun_words(Mpirun mpirun, int ranks);
// Sets the variables by which Open MPI 4 and 5 allow more ranks than cores and ranks of root, and by which Intel MPI
// pins none. A variable that is set already stays, and none disturbs another MPI.
void allow_more_ranks_than_cores();

// Returns the process to which a request to stop (USR2) must be sent. Open MPI's mpirun passes the signal on to the
// ranks. Hydra would end at once, and the ranks with it, so the request goes to one of the ranks below it, which tells
// the others. Returns `mpirun` itself where no rank is found.
pid_t takes_stop_request(Mpirun kind, pid_t mpirun);

}  // namespace spankey
