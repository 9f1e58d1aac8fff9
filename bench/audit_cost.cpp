// Measures what an audit of the ranks costs. `bench_audit_cost CONFIG [key=value ...]` prints one JSON line with
// medians of 50, taken in turns.
//
//   digest_ms    Coordinator::audit, as at the start and the end of a run (SHA-256 of weights and basis)
//   checksum_ms  Coordinator::audit_by_checksum, as every dist.audit_every_steps steps and before a checkpoint
//   word_sum_ms  the part of it that weights on a GPU would take there, on this CPU
//
// Under mpirun the ranks compare them. A single rank has nobody to compare with, but computes as much.
#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <torch/nn/module.h>

#include <string>
#include <vector>

#include "base/error.h"
#include "base/statistics.h"
#include "bench/bench_main.h"
#include "dist/backend.h"
#include "spankey/models/named_tensor.h"
#include "train/coordinator.h"
#include "train/experiment.h"
#include "train/resources.h"

namespace spankey {
namespace {

double megabytes(const std::vector<at::Tensor>& tensors) {
  std::size_t bytes = 0;
  for (const auto& tensor : tensors) bytes += tensor.nbytes();
  return 1e-6 * static_cast<double>(bytes);
}

void run(const std::string& file, const std::vector<std::string>& overrides) {
  constexpr int rounds = 50;
  const auto config = load_config(file, overrides);
  const auto communicator = make_communicator(config.dist.backend, config.dist.timeout_seconds);
  at::set_num_threads(resolve_threads(config, communicator->node_size()));
  const auto experiment = make_experiment(config);
  const auto basis = make_basis(config.key, experiment.key_dims, 42);
  Coordinator coordinator(experiment, *communicator);
  const auto weights = experiment.model->parameters();
  std::vector<double> digest, checksum, sum;
  for (int round = 0; round < rounds; ++round) {
    digest.push_back(milliseconds([&] { coordinator.audit(basis, {}); }));
    checksum.push_back(milliseconds([&] { coordinator.audit_by_checksum(basis, {}); }));
    sum.push_back(milliseconds([&] { detail::word_sum(weights).item<std::int64_t>(); }));
  }
  const nlohmann::json line{{"model", config.model.name},         {"ranks", communicator->size()},
                            {"weights_mb", megabytes(weights)},   {"basis_mb", megabytes(basis.layers)},
                            {"digest_ms", quantile(digest, 0.5)}, {"checksum_ms", quantile(checksum, 0.5)},
                            {"word_sum_ms", quantile(sum, 0.5)}};
  if (communicator->rank() == 0) fmt::print("{}\n", line.dump());
}

}  // namespace
}  // namespace spankey

int main(int argc, char** argv) {
  spankey::keep_freed_memory();
  return spankey::exit_code_of("bench_audit_cost", [&] {
    if (argc < 2) spankey::fail_input("usage: bench_audit_cost CONFIG [key=value ...]");
    spankey::run(argv[1], {argv + 2, argv + argc});
  });
}
