// Start and end of MPI in this process, and the check of its return codes.
#pragma once

#include <mpi.h>

#include <memory>

namespace spankey {

// Holds MPI open. Starts it with MPI_THREAD_MULTIPLE, or joins what somebody else has started (and then leaves the end
// to them). Throws Error(run_failed) when the thread level is not granted. The last holder finalizes, except while an
// exception unwinds: a dying rank would wait there for ranks that wait for it.
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

// True while an exception is on its way through this thread: nothing collective may be done then.
bool is_unwinding();

// Open MPI spins while it waits, and counts neither our compute threads nor the cores that a rank is bound to: whoever
// waits must offer its core to whoever computes. Sets OMPI_MCA_mpi_yield_when_idle unless the user has. Call before MPI
// starts.
void yield_when_idle();

namespace detail {
void check_mpi(int code, const char* expression, int rank, const char* file, int line);
}  // namespace detail

}  // namespace spankey

// Throws Error(run_failed) naming expression, rank, place and MPI's own text. `rank` is the rank in the world.
#define SPANKEY_MPI(rank, expression) \
  ::spankey::detail::check_mpi((expression), #expression, (rank), __FILE__, __LINE__)
