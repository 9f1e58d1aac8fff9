#include "train/experiment.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cstdlib>

#include "base/error.h"
#include "spankey/precision.h"

namespace spankey {
namespace {

std::vector<std::int64_t> key_dimensions(const Config& config, const Model& model) {
  const auto points = model.injection_points();
  std::vector<std::int64_t> dims;
  for (const auto layer : config.key.layers) dims.push_back(points.at(static_cast<std::size_t>(layer)).size());
  return dims;
}

void require_precision(const Config& config, const Placement& placement) {
  if (config.train.precision == Precision::bf16 && placement.device.is_cpu() && !cpu_has_bf16())
    fail_key(config, "train.precision",
             "this processor has no bfloat16 instructions (AVX512_BF16 or AMX_BF16); accepted: float32");
}

// How many of the cores a process may run on; 0: this one.
int cores_allowed(pid_t process) {
  const auto online = static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN));
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  return sched_getaffinity(process, sizeof allowed, &allowed) == 0 ? std::min(CPU_COUNT(&allowed), online) : online;
}

}  // namespace

std::int64_t Experiment::train_samples() const {
  const auto all = dataset->train().size;
  return config.data.limit > 0 ? std::min(config.data.limit, all) : all;
}

Experiment make_experiment(Config config, const Placement& placement) {
  Experiment experiment;
  config = canonical(std::move(config));
  experiment.deny = &find_deny_loss(config.deny.mode);
  require_precision(config, placement);
  experiment.dataset = Dataset::open(config.data.file, config.data.verify);
  const auto& info = experiment.dataset->info();
  check_data(config, {info.sample_shape, info.classes, experiment.dataset->train().size});
  experiment.model = make_model(config.model.name, {.sample_shape = info.sample_shape,
                                                    .classes = info.classes,
                                                    .reject_class = experiment.deny->reject == RejectKind::reject_class,
                                                    .reject_head = experiment.deny->reject == RejectKind::reject_head,
                                                    .deny_statistics = config.model.batchnorm == BatchNorm::split,
                                                    .precision = config.train.precision});
  initialise(*experiment.model, static_cast<std::uint64_t>(config.run.seed));
  experiment.key_dims = key_dimensions(config, *experiment.model);
  experiment.hash = config_hash(config, info.digest);
  experiment.config = std::move(config);
  experiment.model->to(placement.device);
  experiment.placement = placement;
  return experiment;
}

void require_full_batches(const Experiment& experiment, int world_size) {
  const auto& config = experiment.config;
  if (!config.model.sync_batchnorm) return;
  const auto last = config.train.drop_last ? 0 : experiment.train_samples() % config.train.global_batch;
  const auto smallest = last > 0 ? last : config.train.global_batch;
  if (smallest < world_size)
    fail_key(config, "model.sync_batchnorm",
             fmt::format("a batch of {} samples is too small for {} ranks; accepted: false, another "
                         "train.global_batch, or train.drop_last = true",
                         smallest, world_size));
}

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
  if (!std::has_single_bit(static_cast<std::uint64_t>(resolved)) || resolved % world_size != 0)
    fail_key(config, "dist.shards",
             fmt::format("elastic needs a power of two that the number of ranks ({}) divides{}", world_size,
                         shards == 0 ? fmt::format("; automatic gave {}", resolved) : ""));
  return resolved;
}

int cores_of_rank(int ranks_of_node) {
  int cores = cores_allowed(1);  // those of the first process are those of the machine, or of the container
  if (const char* allotted = std::getenv("SLURM_CPUS_ON_NODE"))  // by a job that has a part of the machine
    if (const int count = std::atoi(allotted); count > 0) cores = std::min(cores, count);
  return std::max(1, std::min(cores_allowed(0), cores / ranks_of_node));
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
