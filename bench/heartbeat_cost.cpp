// Measures what the watch over the ranks (heartbeat, watchdog, deadlines of steps) costs a training step. It prints one
// JSON line on rank 0.
//   mpirun -np 2 bench_heartbeat_cost CONFIG [key=value ...]
// Rounds of steps over our communicator and over the same MPI calls with nobody watching take turns in one process.
//   step_ms_watched, step_ms_unwatched   medians over all steps of all rounds
//   cost                                 median over the rounds of the ratio of their medians, less 1
//   cost_of_nothing                      the same where both of a pair are unwatched, which is the resolution
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <mpi.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/statistics.h"
#include "bench/bench_main.h"
#include "dist/mpi_communicator.h"
#include "dist/mpi_session.h"
#include "train/experiment.h"
#include "train/resources.h"
#include "train/training_parts.h"

namespace spankey {
namespace {

// Makes the calls that MpiCommunicator makes, and no more.
class Unwatched final : public Communicator {
 public:
  explicit Unwatched(MPI_Comm comm) : Communicator(topology_of(comm)), comm_(comm) {}

  std::unique_ptr<Communicator> split(int color, int key) override {
    MPI_Comm part = MPI_COMM_NULL;
    SPANKEY_MPI(rank(), MPI_Comm_split(comm_, color < 0 ? MPI_UNDEFINED : color, key, &part));
    return part == MPI_COMM_NULL ? nullptr : std::make_unique<Unwatched>(part);
  }
  void abort(int exit_code) override {
    MPI_Abort(MPI_COMM_WORLD, exit_code);
    std::_Exit(exit_code);
  }
  void set_place(const std::string&) override {}
  void begin_step(const std::string&) override {}

 private:
  using Piece = std::function<void(char* bytes, int count)>;

  static Topology topology_of(MPI_Comm comm) {  // all on this machine
    int rank = 0, size = 1;
    MPI_Comm_rank(comm, &rank);
    MPI_Comm_size(comm, &size);
    return {rank, size, rank, size};
  }

  static void for_pieces(const at::Tensor& tensor, const Piece& piece) {
    const auto item = static_cast<std::int64_t>(tensor.element_size());
    const auto most = MpiCommunicator::default_piece_bytes / item;
    auto* bytes = static_cast<char*>(tensor.data_ptr());
    for (std::int64_t first = 0; first < tensor.numel(); first += most)
      piece(bytes + first * item, static_cast<int>(std::min(most, tensor.numel() - first)));
  }

  void do_broadcast(at::Tensor& tensor, int root) override {
    for_pieces(tensor, [&](char* bytes, int count) {
      SPANKEY_MPI(rank(), MPI_Bcast(bytes, count, mpi_type(tensor), root, comm_));
    });
  }
  void do_all_reduce(at::Tensor& tensor, ReduceOp op) override {
    const auto mpi_op = op == ReduceOp::sum ? MPI_SUM : op == ReduceOp::max ? MPI_MAX : MPI_MIN;
    for_pieces(tensor, [&](char* bytes, int count) {
      SPANKEY_MPI(rank(), MPI_Allreduce(MPI_IN_PLACE, bytes, count, mpi_type(tensor), mpi_op, comm_));
    });
  }
  void do_all_gather(const at::Tensor& tensor, at::Tensor& gathered) override {
    const auto count = static_cast<int>(tensor.numel());
    SPANKEY_MPI(rank(), MPI_Allgather(tensor.data_ptr(), count, mpi_type(tensor), gathered.data_ptr(), count,
                                      mpi_type(tensor), comm_));
  }
  void do_exchange(const at::Tensor& send, at::Tensor& receive, int peer) override {
    const auto count = static_cast<int>(send.numel());
    SPANKEY_MPI(rank(), MPI_Sendrecv(send.data_ptr(), count, mpi_type(send), peer, 0, receive.data_ptr(), count,
                                     mpi_type(send), peer, 0, comm_, MPI_STATUS_IGNORE));
  }
  void do_barrier() override { SPANKEY_MPI(rank(), MPI_Barrier(comm_)); }

  MPI_Comm comm_;  // lives until the end of the process
};

// Returns milliseconds of each step of one round.
std::vector<double> round_over(Communicator& communicator, const Experiment& experiment, const Basis& basis) {
  using Clock = std::chrono::steady_clock;
  constexpr std::int64_t warm_up = 5, steps = 30;
  TrainingParts parts(experiment, basis, resolve_shards(experiment.config, communicator.size()), communicator);
  const auto batch = parts.load(0, 0);
  std::vector<double> times;
  for (std::int64_t step = 0; step < warm_up + steps; ++step) {
    const auto begin = Clock::now();
    communicator.begin_step(fmt::format("epoch 1, step {}", step));
    parts.step(batch, {.epoch = 0, .step = step, .global_step = step}, experiment.config.optim.lr, false);
    if (step >= warm_up) times.push_back(std::chrono::duration<double, std::milli>(Clock::now() - begin).count());
  }
  communicator.barrier();
  return times;
}

struct Comparison {
  std::vector<double> ratios, watched, unwatched;
};

void run(const std::string& file, const std::vector<std::string>& overrides) {
  constexpr int rounds = 30;
  const auto config = load_config(file, overrides);
  const auto session = MpiSession::acquire();
  int size = 1;
  SPANKEY_MPI(session->world_rank(), MPI_Comm_size(MPI_COMM_WORLD, &size));
  at::set_num_threads(resolve_threads(config, size));
  const auto experiment = make_experiment(config);
  experiment.model->train();
  const auto basis = make_basis(config.key, experiment.key_dims, 42);
  Unwatched unwatched(MPI_COMM_WORLD);

  const auto once = [&](bool watch) {
    if (!watch) return round_over(unwatched, experiment, basis);
    const auto world = MpiCommunicator::world(config.dist.timeout_seconds);
    return round_over(*world, experiment, basis);
  };
  Comparison costs, nothing;
  for (int round = 0; round < rounds; ++round)
    for (auto* comparison : {&costs, &nothing}) {
      const bool first = round % 2 == 0;  // which of the two comes first takes turns
      const bool watch = comparison == &costs;
      auto one = once(first && watch), other = once(!first && watch);
      if (!first) std::swap(one, other);
      comparison->ratios.push_back(quantile(one, 0.5) / quantile(other, 0.5));
      comparison->watched.insert(comparison->watched.end(), one.begin(), one.end());
      comparison->unwatched.insert(comparison->unwatched.end(), other.begin(), other.end());
    }
  const nlohmann::json line{{"model", config.model.name},
                            {"ranks", size},
                            {"threads", at::get_num_threads()},
                            {"batch", config.train.global_batch},
                            {"step_ms_watched", quantile(costs.watched, 0.5)},
                            {"step_ms_unwatched", quantile(costs.unwatched, 0.5)},
                            {"cost", quantile(costs.ratios, 0.5) - 1},
                            {"cost_of_nothing", quantile(nothing.ratios, 0.5) - 1}};
  if (session->world_rank() == 0) fmt::print("{}\n", line.dump());
}

}  // namespace
}  // namespace spankey

int main(int argc, char** argv) {
  spankey::keep_freed_memory();
  return spankey::exit_code_of("bench_heartbeat_cost", [&] {
    if (argc < 2) spankey::fail_input("usage: bench_heartbeat_cost CONFIG [key=value ...]");
    spankey::run(argv[1], {argv + 2, argv + argc});
  });
}
