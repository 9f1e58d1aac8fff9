// The communicator over MPI, for host tensors.
//
// The calls are the blocking ones, made on the caller's thread. They are faster than the non-blocking ones, which make
// no progress by themselves. A watchdog thread ends the process when another rank is lost or late.
#pragma once

#include <mpi.h>

#include <cstdint>
#include <memory>

#include "dist/communicator.h"
#include "dist/mpi_session.h"
#include "dist/watchdog.h"

namespace spankey {

// The MPI type of the tensor's elements. Throws Error(run_failed) for a type that Communicator does not take.
MPI_Datatype mpi_type(const at::Tensor& tensor);

class MpiCommunicator final : public Communicator {
 public:
  // Large tensors are sent in pieces of this many bytes. Pieces that fit the caches are faster than one large message
  // (two ranks on one machine, 45 MB, took 24 ms in pieces of 1 MiB, 26 to 37 in pieces of 4 MiB, 36 to 66 in one), and
  // counts stay far below INT_MAX.
  static constexpr std::int64_t default_piece_bytes = std::int64_t{1} << 20;

  // Collective over MPI_COMM_WORLD, of which the communicator takes a duplicate.
  static std::unique_ptr<MpiCommunicator> world(double timeout_seconds, std::int64_t piece_bytes = default_piece_bytes);
  ~MpiCommunicator() override;

  std::unique_ptr<Communicator> split(int color, int key) override;
  void abort(int exit_code) override;
  void set_place(const std::string& place) override;
  void begin_step(const std::string& place) override;

  MPI_Comm handle() const { return comm_; }

 private:
  struct Shared;  // what a communicator and those split from it have in common
  MpiCommunicator(std::shared_ptr<Shared> shared, MPI_Comm comm, const Topology& topology);
  static Topology topology_of(int world_rank, MPI_Comm comm);  // as if `comm` were the whole job

  // The watchdog times the calling thread as long as the guard lives.
  Watchdog::Guard watch(const char* operation, std::int64_t bytes = 0);

  void do_broadcast(at::Tensor& tensor, int root) override;
  void do_all_reduce(at::Tensor& tensor, ReduceOp op) override;
  void do_all_gather(const at::Tensor& tensor, at::Tensor& gathered) override;
  void do_exchange(const at::Tensor& send, at::Tensor& receive, int peer) override;
  void do_barrier() override;

  std::shared_ptr<Shared> shared_;
  MPI_Comm comm_;
};

std::unique_ptr<Communicator> make_mpi_communicator(double timeout_seconds);

}  // namespace spankey
