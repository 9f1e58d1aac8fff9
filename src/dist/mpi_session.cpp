#include "dist/mpi_session.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <exception>
#include <mutex>
#include <string>

#include "base/error.h"

namespace spankey {
namespace detail {

void check_mpi(int code, const char* expression, int rank, const char* file, int line) {
  if (code == MPI_SUCCESS) return;
  std::array<char, MPI_MAX_ERROR_STRING> text{};
  int length = 0;
  MPI_Error_string(code, text.data(), &length);
  std::replace(text.begin(), text.end(), '\n', ' ');  // MPICH tells a stack of calls, a line for each
  fail_run("rank {}: {} failed at {}:{}: {}", rank, expression, file, line,
           std::string(text.data(), static_cast<std::size_t>(length)));
}

}  // namespace detail

bool is_unwinding() {
  return std::uncaught_exceptions() > 0;
}

void yield_when_idle() {
  setenv("OMPI_MCA_mpi_yield_when_idle", "1", /*overwrite=*/0);
}

std::shared_ptr<MpiSession> MpiSession::acquire() {
  static std::mutex mutex;
  static std::weak_ptr<MpiSession> current;
  const std::lock_guard lock(mutex);
  auto session = current.lock();
  if (!session) {
    session.reset(new MpiSession);
    current = session;
  }
  return session;
}

MpiSession::MpiSession() {
  int started = 0, ended = 0, level = 0;
  MPI_Initialized(&started);
  MPI_Finalized(&ended);
  if (ended) fail_run("MPI has been finalized in this process and cannot be started again");
  if (started) {
    SPANKEY_MPI(-1, MPI_Query_thread(&level));
  } else {
    yield_when_idle();
    SPANKEY_MPI(-1, MPI_Init_thread(nullptr, nullptr, MPI_THREAD_MULTIPLE, &level));
    owner_ = true;
  }
  SPANKEY_MPI(-1, MPI_Comm_rank(MPI_COMM_WORLD, &world_rank_));
  if (level < MPI_THREAD_MULTIPLE)
    fail_run("rank {}: MPI grants thread level {}, but a communication thread needs MPI_THREAD_MULTIPLE ({})",
             world_rank_, level, int{MPI_THREAD_MULTIPLE});
}

MpiSession::~MpiSession() {
  if (owner_ && !is_unwinding()) MPI_Finalize();
}

}  // namespace spankey
