#include "dist/mpi_communicator.h"

#include <ATen/Functions.h>

#include <algorithm>
#include <cstdlib>

#include "base/error.h"
#include "base/log.h"

namespace spankey {

struct MpiCommunicator::Shared {
  Shared(std::shared_ptr<MpiSession> mpi_session, double timeout_seconds, std::int64_t bytes)
      : session(std::move(mpi_session)), piece_bytes(bytes), watchdog(session->world_rank(), timeout_seconds) {}

  // MPI_Finalize waits for the other ranks, and one of them may have results to write before it comes.
  ~Shared() {
    if (is_unwinding()) return;
    const auto guard = watch("end of MPI", 0, session->world_rank(), 0, SourcePlace::here(), /*patience=*/10);
    session.reset();
  }

  Watchdog::Guard watch(const char* operation, std::int64_t bytes, int rank, int size, SourcePlace place,
                        double patience = 1) {
    return {watchdog, {operation, bytes, rank, size, place.file, place.line, patience}};
  }

  std::shared_ptr<MpiSession> session;
  std::int64_t piece_bytes;
  Watchdog watchdog;
};

namespace {

MPI_Datatype mpi_type(const at::Tensor& tensor) {
  switch (tensor.scalar_type()) {
    case at::kFloat:
      return MPI_FLOAT;
    case at::kDouble:
      return MPI_DOUBLE;
    case at::kLong:
      return MPI_INT64_T;
    case at::kByte:
      return MPI_UINT8_T;
    default:
      fail_run("no MPI type for {}", at::toString(tensor.scalar_type()));
  }
}

MPI_Op mpi_op(ReduceOp op) {
  switch (op) {
    case ReduceOp::sum:
      return MPI_SUM;
    case ReduceOp::max:
      return MPI_MAX;
    case ReduceOp::min:
      return MPI_MIN;
  }
  fail_run("no MPI operation for ReduceOp {}", static_cast<int>(op));
}

std::int64_t bytes_of(const at::Tensor& tensor) {
  return static_cast<std::int64_t>(tensor.nbytes());
}

// Calls piece(first byte, element count) for consecutive pieces of at most `piece_bytes`.
template <class Piece>
void for_pieces(const at::Tensor& tensor, std::int64_t piece_bytes, Piece&& piece) {
  const std::int64_t item = tensor.element_size();
  const std::int64_t most = std::max<std::int64_t>(1, piece_bytes / item);
  for (std::int64_t first = 0; first < tensor.numel(); first += most)
    piece(first * item, static_cast<int>(std::min(most, tensor.numel() - first)));
}

std::byte* bytes(at::Tensor& tensor) {
  return static_cast<std::byte*>(tensor.mutable_data_ptr());
}
const std::byte* bytes(const at::Tensor& tensor) {
  return static_cast<const std::byte*>(tensor.const_data_ptr());
}

// A duplicate or part of the world whose errors come back as return codes.
MPI_Comm with_error_codes(int world_rank, MPI_Comm comm) {
  SPANKEY_MPI(world_rank, MPI_Comm_set_errhandler(comm, MPI_ERRORS_RETURN));
  return comm;
}

}  // namespace

Communicator::Topology MpiCommunicator::topology(int world_rank, MPI_Comm comm) {
  Topology result{};
  SPANKEY_MPI(world_rank, MPI_Comm_rank(comm, &result.rank));
  SPANKEY_MPI(world_rank, MPI_Comm_size(comm, &result.size));
  MPI_Comm node = MPI_COMM_NULL;
  SPANKEY_MPI(world_rank, MPI_Comm_split_type(comm, MPI_COMM_TYPE_SHARED, result.rank, MPI_INFO_NULL, &node));
  with_error_codes(world_rank, node);
  SPANKEY_MPI(world_rank, MPI_Comm_rank(node, &result.local_rank));
  SPANKEY_MPI(world_rank, MPI_Comm_size(node, &result.local_size));
  SPANKEY_MPI(world_rank, MPI_Comm_free(&node));
  return result;
}

std::unique_ptr<MpiCommunicator> MpiCommunicator::world(double timeout_seconds, std::int64_t piece_bytes) {
  auto shared = std::make_shared<Shared>(MpiSession::acquire(), timeout_seconds, piece_bytes);
  const int world_rank = shared->session->world_rank();
  const auto guard = shared->watch("start of the communicator", 0, world_rank, 0, SourcePlace::here());
  MPI_Comm comm = MPI_COMM_NULL;
  SPANKEY_MPI(world_rank, MPI_Comm_dup(MPI_COMM_WORLD, &comm));
  return std::unique_ptr<MpiCommunicator>(new MpiCommunicator(std::move(shared), with_error_codes(world_rank, comm)));
}

MpiCommunicator::MpiCommunicator(std::shared_ptr<Shared> shared, MPI_Comm comm)
    : Communicator(topology(shared->session->world_rank(), comm)), shared_(std::move(shared)), comm_(comm) {}

MpiCommunicator::~MpiCommunicator() {
  int ended = 0;
  MPI_Finalized(&ended);
  if (ended || is_unwinding()) return;
  const auto guard = watch("release of the communicator", 0);
  MPI_Comm_free(&comm_);
}

Watchdog::Guard MpiCommunicator::watch(const char* operation, std::int64_t bytes, SourcePlace place) {
  return shared_->watch(operation, bytes, rank(), size(), place);
}

std::unique_ptr<Communicator> MpiCommunicator::split(int color, int key) {
  const auto guard = watch("split", 0);
  const int world_rank = shared_->session->world_rank();
  MPI_Comm part = MPI_COMM_NULL;
  SPANKEY_MPI(world_rank, MPI_Comm_split(comm_, color < 0 ? MPI_UNDEFINED : color, key, &part));
  if (part == MPI_COMM_NULL) return nullptr;
  return std::unique_ptr<Communicator>(new MpiCommunicator(shared_, with_error_codes(world_rank, part)));
}

void MpiCommunicator::abort(int exit_code) {
  log::flush();
  const auto guard = watch("abort", 0);
  MPI_Abort(MPI_COMM_WORLD, exit_code);
  std::_Exit(exit_code);
}

void MpiCommunicator::set_place(const std::string& place) {
  shared_->watchdog.set_place(place);
}

void MpiCommunicator::do_broadcast(at::Tensor& tensor, int root) {
  const auto guard = watch("broadcast", bytes_of(tensor));
  for_pieces(tensor, shared_->piece_bytes, [&](std::int64_t first, int count) {
    SPANKEY_MPI(shared_->session->world_rank(), MPI_Bcast(bytes(tensor) + first, count, mpi_type(tensor), root, comm_));
  });
}

void MpiCommunicator::do_all_reduce(at::Tensor& tensor, ReduceOp op) {
  const auto guard = watch("all_reduce", bytes_of(tensor));
  for_pieces(tensor, shared_->piece_bytes, [&](std::int64_t first, int count) {
    SPANKEY_MPI(shared_->session->world_rank(),
                MPI_Allreduce(MPI_IN_PLACE, bytes(tensor) + first, count, mpi_type(tensor), mpi_op(op), comm_));
  });
}

void MpiCommunicator::do_all_gather(const at::Tensor& tensor, at::Tensor& gathered) {
  const auto guard = watch("all_gather", bytes_of(tensor));
  const std::int64_t item = tensor.element_size();
  for_pieces(tensor, shared_->piece_bytes, [&](std::int64_t first, int count) {
    auto piece = at::empty({size(), count}, tensor.options());
    SPANKEY_MPI(shared_->session->world_rank(), MPI_Allgather(bytes(tensor) + first, count, mpi_type(tensor),
                                                              bytes(piece), count, mpi_type(tensor), comm_));
    gathered.view({size(), tensor.numel()}).narrow(1, first / item, count).copy_(piece);
  });
}

void MpiCommunicator::do_exchange(const at::Tensor& send, at::Tensor& receive, int peer) {
  const auto guard = watch("exchange", bytes_of(send));
  for_pieces(send, shared_->piece_bytes, [&](std::int64_t first, int count) {
    SPANKEY_MPI(shared_->session->world_rank(),
                MPI_Sendrecv(bytes(send) + first, count, mpi_type(send), peer, /*sendtag=*/0, bytes(receive) + first,
                             count, mpi_type(send), peer, /*recvtag=*/0, comm_, MPI_STATUS_IGNORE));
  });
}

void MpiCommunicator::do_barrier() {
  const auto guard = watch("barrier", 0);
  SPANKEY_MPI(shared_->session->world_rank(), MPI_Barrier(comm_));
}

std::unique_ptr<Communicator> make_mpi_communicator(double timeout_seconds) {
  return MpiCommunicator::world(timeout_seconds);
}

}  // namespace spankey
