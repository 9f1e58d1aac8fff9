// Finds out once, for all trials that a worker runs in a batch job, when the job ends.
#pragma once

#include "dist/communicator.h"

namespace spankey {

// Asks squeue under a Slurm that does not set SLURM_JOB_END_TIME (before 23.02), and sets it in this process, so that
// its trials inherit it. A trial whose time is nearly up asks squeue itself, in case the limit was raised. Call this
// before other threads of ours exist.
void share_job_end();

// Does the same with one question for all ranks. Collective.
void share_job_end(Communicator& world);

}  // namespace spankey
