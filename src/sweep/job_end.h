// When a batch job ends: asked once for all trials that a worker runs in it.
#pragma once

#include "dist/communicator.h"

namespace spankey {

// Under a Slurm that does not say it (before 23.02) asks squeue and sets SLURM_JOB_END_TIME in this process, which its
// trials inherit. A trial whose time is nearly up asks squeue itself, in case the limit was raised. To be called before
// there are other threads of ours.
void share_job_end();

// The same with one question for all ranks. Collective.
void share_job_end(Communicator& world);

}  // namespace spankey
