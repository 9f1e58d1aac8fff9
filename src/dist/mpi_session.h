// Start and end of MPI in this process, and the check of its return codes.
#pragma once

#include <mpi.h>

#include <memory>

namespace spankey {

// Keeps MPI initialised. It starts MPI with MPI_THREAD_MULTIPLE, or joins an MPI that other code has started and then
// leaves its end to that code. Throws Error(run_failed) when the thread level is not granted. The last holder
// finalizes, except while an exception unwinds, because a dying rank would wait there for ranks that wait for it.
class MpiSession {
 public:
  static std::shared_ptr<MpiSession> acquire();
  ~MpiSession();
  MpiSession(const MpiSession&) = delete;
  MpiSession& operator=(const MpiSession&) = delete;

  int world_rank() const { return world_rank_; }

 private:
  MpiSession();

  bool owner_ = false;
  int world_rank_ = 0;
};

// True while an exception unwinds this thread. Collective calls are not allowed then.
bool is_unwinding();

// Open MPI spins while it waits. It counts neither our compute threads nor the cores that a rank is bound to, so a
// waiting thread must yield its core to computing threads. This sets OMPI_MCA_mpi_yield_when_idle unless the user has
// set it. Call it before MPI starts.
void yield_when_idle();

namespace detail {
void check_mpi(int code, const char* expression, int rank, const char* file, int line);
}  // namespace detail

}  // namespace spankey

// Throws Error(run_failed) with the expression, the rank, the place and MPI's own text. `rank` is the rank in the
// world.
#define SPANKEY_MPI(rank, expression) \
  ::spankey::detail::check_mpi((expression), #expression, (rank), __FILE__, __LINE__)
