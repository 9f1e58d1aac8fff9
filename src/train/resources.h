// Decides how many shards, cores and threads a rank has, and whether gradients travel during the backward pass.
#pragma once

#include <cstdint>

#include "config/config.h"
#include "dist/communicator.h"

namespace spankey {

// Returns dist.shards with 0 resolved. Under fast this is one for each rank. Under elastic it is the largest power of
// two up to 8 that divides train.global_batch, whatever the number of ranks. Throws Error(bad_input) where the number
// of ranks does not divide the shards.
std::int64_t resolve_shards(const Config& config, int world_size);

// Returns the cores of this machine, container, part of a machine in a Slurm job or of a sweep's trial (SPANKEY_CORES),
// divided by the ranks there. Returns the number of cores to which this process is bound where that is smaller. Returns
// at least 1.
int cores_of_rank(int ranks_of_node);

// Returns dist.threads with 0 resolved, which is 1 under elastic and cores_of_rank() under fast.
int resolve_threads(const Config& config, int ranks_of_node);

// Returns dist.overlap with auto resolved. Auto overlaps where gradients travel without a core that computes. They do
// so through a GPU's copy engines, over a network, or on a core that the compute threads of the rank leave free
// (docs/decisions/own-reducer.md has the figures).
bool resolve_overlap(Overlap overlap, const Communicator::Topology& topology, bool stream_ordered, int cores,
                     int compute_threads);

}  // namespace spankey
