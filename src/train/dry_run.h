// Works out what a training would do, without doing it (`spankey train --dry-run`).
#pragma once

#include "base/error.h"
#include "dist/communicator.h"
#include "train/train_request.h"

namespace spankey {

// Makes the checks that train() makes before it touches the run directory, and prints on rank 0 what train() would do.
// Writes nothing. Collective. Throws as train() does.
ExitCode dry_run(const TrainRequest& request, Communicator& host);

}  // namespace spankey
