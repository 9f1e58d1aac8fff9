#include "train/resources.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "base/error.h"
#include "base/process.h"

namespace spankey {
namespace {

// Counts the online cores that a process may run on. `process` 0 is this one.
int count_cores(pid_t process) {
  const auto online = static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN));
  const auto allowed = static_cast<int>(allowed_cores(process).size());
  return allowed > 0 ? std::min(allowed, online) : online;
}

}  // namespace

std::int64_t resolve_shards(const Config& config, int world_size) {
  const auto shards = config.dist.shards;
  if (config.dist.reduction == Reduction::fast) {
    if (shards != 0 && shards != world_size)
      fail_key(config, "dist.shards",
               fmt::format("dist.reduction = \"fast\" has one shard a rank; accepted: 0 or {}, or dist.reduction = "
                           "\"elastic\"",
                           world_size));
    return world_size;
  }
  std::int64_t resolved = shards;
  if (resolved == 0)
    for (resolved = 8; config.train.global_batch % resolved != 0;) resolved /= 2;
  if (resolved % world_size != 0)
    fail_key(config, "dist.shards",
             fmt::format("elastic needs a power of two that the number of ranks ({}) divides{}", world_size,
                         shards == 0 ? fmt::format("; automatic gave {}", resolved) : ""));
  return resolved;
}

int cores_of_rank(int ranks_of_node) {
  int cores = count_cores(1);  // the first process may use all cores of the machine, or of the container
  // These name the cores of a job that has a part of the machine, or of a trial beside which a sweep runs others.
  for (const char* variable : {"SLURM_CPUS_ON_NODE", "SPANKEY_CORES"})
    if (const char* allotted = std::getenv(variable))
      if (const int count = std::atoi(allotted); count > 0) cores = std::min(cores, count);
  return std::max(1, std::min(count_cores(0), cores / ranks_of_node));
}

int resolve_threads(const Config& config, int ranks_of_node) {
  if (config.dist.threads > 0) return static_cast<int>(config.dist.threads);
  if (config.dist.reduction == Reduction::elastic) return 1;
  return cores_of_rank(ranks_of_node);
}

bool resolve_overlap(Overlap overlap, const Communicator::Topology& topology, bool stream_ordered, int cores,
                     int compute_threads) {
  if (overlap != Overlap::auto_) return overlap == Overlap::on;
  const bool several_nodes = topology.local_size < topology.size;
  return stream_ordered || several_nodes || cores > compute_threads;
}

}  // namespace spankey
