#include "dist/mpi_communicator.h"

#include <ATen/Functions.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <thread>
#include <vector>

#include "base/error.h"
#include "base/log.h"

namespace spankey {

struct MpiCommunicator::Shared {
  Shared(std::shared_ptr<MpiSession> mpi_session, double timeout_seconds, std::int64_t bytes)
      : session(std::move(mpi_session)), piece_bytes(bytes), watchdog(session->world_rank(), timeout_seconds) {}

  // MPI_Finalize waits for the other ranks, and one of them may have to write results before it calls it.
  ~Shared() {
    if (is_unwinding()) return;
    const Watchdog::Guard guard(watchdog, {.operation = "end of MPI", .patience = 10});
    session.reset();
    watchdog.leave();
  }

  std::shared_ptr<MpiSession> session;
  std::int64_t piece_bytes;
  Watchdog watchdog;
};

namespace {

constexpr std::chrono::milliseconds for_the_others_to_log{300};

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

// A duplicate or part of the world that returns errors as return codes.
MPI_Comm with_error_codes(int world_rank, MPI_Comm comm) {
  SPANKEY_MPI(world_rank, MPI_Comm_set_errhandler(comm, MPI_ERRORS_RETURN));
  return comm;
}

// Collective. nullptr where this rank has none. Rank 0 reports which ranks have none.
std::unique_ptr<Heartbeat> start_heartbeat(MPI_Comm comm, double timeout_seconds) {
  int rank = 0, size = 0;
  SPANKEY_MPI(-1, MPI_Comm_rank(comm, &rank));
  SPANKEY_MPI(rank, MPI_Comm_size(comm, &size));
  auto host = rank == 0 ? host_heartbeat(timeout_seconds) : nullptr;
  auto invitation = host ? host->invitation() : HeartbeatInvitation();
  SPANKEY_MPI(rank, MPI_Bcast(&invitation, sizeof invitation, MPI_BYTE, /*root=*/0, comm));
  auto guest = host ? nullptr : join_heartbeat(rank, invitation, timeout_seconds);

  const char here = host || guest ? 1 : 0;
  std::vector<char> present(static_cast<std::size_t>(size));
  MPI_Request request = MPI_REQUEST_NULL;
  SPANKEY_MPI(rank, MPI_Iallgather(&here, 1, MPI_CHAR, present.data(), 1, MPI_CHAR, comm, &request));
  if (!host) {
    SPANKEY_MPI(rank, MPI_Wait(&request, MPI_STATUS_IGNORE));
    return guest;
  }
  for (int all = 0; !all;) {
    host->accept_clients(std::chrono::milliseconds(2));
    SPANKEY_MPI(rank, MPI_Test(&request, &all, MPI_STATUS_IGNORE));
  }
  host->stop_accepting();
  for (int other = 0; other < size; ++other)
    if (!present[static_cast<std::size_t>(other)])
      log::warning("rank {} cannot connect to rank 0 over TCP: only the deadline of a step would notice its loss",
                   other);
  return host;
}

}  // namespace

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

Communicator::Topology MpiCommunicator::topology_of(int world_rank, MPI_Comm comm) {
  Topology result{};
  SPANKEY_MPI(world_rank, MPI_Comm_rank(comm, &result.rank));
  SPANKEY_MPI(world_rank, MPI_Comm_size(comm, &result.size));
  MPI_Comm node = MPI_COMM_NULL;
  SPANKEY_MPI(world_rank, MPI_Comm_split_type(comm, MPI_COMM_TYPE_SHARED, result.rank, MPI_INFO_NULL, &node));
  with_error_codes(world_rank, node);
  SPANKEY_MPI(world_rank, MPI_Comm_rank(node, &result.local_rank));
  SPANKEY_MPI(world_rank, MPI_Comm_size(node, &result.local_size));
  SPANKEY_MPI(world_rank, MPI_Comm_free(&node));
  result.node_rank = result.local_rank;
  result.node_size = result.local_size;
  return result;
}

std::unique_ptr<MpiCommunicator> MpiCommunicator::world(double timeout_seconds, std::int64_t piece_bytes) {
  auto shared = std::make_shared<Shared>(MpiSession::acquire(), timeout_seconds, piece_bytes);
  const int world_rank = shared->session->world_rank();
  const Watchdog::Guard guard(shared->watchdog, {.operation = "start of the communicator", .patience = 10});
  MPI_Comm comm = MPI_COMM_NULL;
  SPANKEY_MPI(world_rank, MPI_Comm_dup(MPI_COMM_WORLD, &comm));
  with_error_codes(world_rank, comm);
  std::unique_ptr<MpiCommunicator> world(new MpiCommunicator(shared, comm, topology_of(world_rank, comm)));
  if (world->size() > 1) shared->watchdog.listen(start_heartbeat(comm, timeout_seconds));
  return world;
}

MpiCommunicator::MpiCommunicator(std::shared_ptr<Shared> shared, MPI_Comm comm, const Topology& topology)
    : Communicator(topology), shared_(std::move(shared)), comm_(comm) {}

MpiCommunicator::~MpiCommunicator() {
  int ended = 0;
  MPI_Finalized(&ended);
  if (ended || is_unwinding()) return;
  const auto guard = watch("release of the communicator");
  MPI_Comm_free(&comm_);
}

Watchdog::Guard MpiCommunicator::watch(const char* operation, std::int64_t bytes) {
  return {shared_->watchdog, {.operation = operation, .bytes = bytes}};
}

std::unique_ptr<Communicator> MpiCommunicator::split(int color, int key) {
  const auto guard = watch("split");
  const int world_rank = shared_->session->world_rank();
  MPI_Comm part = MPI_COMM_NULL;
  SPANKEY_MPI(world_rank, MPI_Comm_split(comm_, color < 0 ? MPI_UNDEFINED : color, key, &part));
  if (part == MPI_COMM_NULL) return nullptr;
  auto of_part = topology_of(world_rank, with_error_codes(world_rank, part));
  of_part.node_rank = node_rank();
  of_part.node_size = node_size();
  return std::unique_ptr<Communicator>(new MpiCommunicator(shared_, part, of_part));
}

// MPI_Abort gives the launcher the exit code. The other ranks learn from the watchdog which rank it was, before the
// launcher kills them, if there is one.
void MpiCommunicator::abort(int exit_code) {
  log::flush();
  shared_->watchdog.announce_end(exit_code);
  std::this_thread::sleep_for(for_the_others_to_log);
  MPI_Abort(MPI_COMM_WORLD, exit_code);
  std::_Exit(exit_code);
}

void MpiCommunicator::set_place(const std::string& place) {
  shared_->watchdog.set_place(place);
}

void MpiCommunicator::begin_step(const std::string& place) {
  shared_->watchdog.begin_step(place);
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
  const Watchdog::Guard guard(shared_->watchdog,
                              {.operation = "exchange", .bytes = bytes_of(send), .collective = false});
  for_pieces(send, shared_->piece_bytes, [&](std::int64_t first, int count) {
    SPANKEY_MPI(shared_->session->world_rank(),
                MPI_Sendrecv(bytes(send) + first, count, mpi_type(send), peer, /*sendtag=*/0, bytes(receive) + first,
                             count, mpi_type(send), peer, /*recvtag=*/0, comm_, MPI_STATUS_IGNORE));
  });
}

void MpiCommunicator::do_barrier() {
  const auto guard = watch("barrier");
  SPANKEY_MPI(shared_->session->world_rank(), MPI_Barrier(comm_));
}

std::unique_ptr<Communicator> make_mpi_communicator(double timeout_seconds) {
  return MpiCommunicator::world(timeout_seconds);
}

}  // namespace spankey
