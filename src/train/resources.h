// What a rank computes with: its shards of the batch, its cores and threads, and whether gradients travel meanwhile.
#pragma once

#include <cstdint>

#include "config/config.h"
#include "dist/communicator.h"

namespace spankey {

// dist.shards with 0 resolved: one a rank (fast); under elastic the largest power of two up to 8 that divides
// train.global_batch, whatever the number of ranks. Error(bad_input) where the number of ranks does not divide them.
std::int64_t resolve_shards(const Config& config, int world_size);

// The cores of this machine, container, part of a machine in a Slurm job or of a sweep's trial (SPANKEY_CORES) over the
// ranks there, or those this process is bound to where they are fewer; at least 1.
int cores_of_rank(int ranks_of_node);

// dist.threads with 0 resolved: 1 under elastic, cores_of_rank() under fast.
int resolve_threads(const Config& config, int ranks_of_node);

// dist.overlap with auto resolved: whether what a rank waits for while gradients travel is something else than a core
// that computes, which is a GPU's copy engines, a network, or a core that its compute threads leave free
// (docs/decisions/own-reducer.md has the figures).
bool resolve_overlap(Overlap overlap, const Communicator::Topology& topology, bool stream_ordered, int cores,
                     int compute_threads);

}  // namespace spankey
