// What a training would do, worked out without doing it: `spankey train --dry-run`.
#pragma once

#include "base/error.h"
#include "dist/communicator.h"
#include "train/train_request.h"

namespace spankey {

// Checks what train() checks before it touches the run directory, and prints on rank 0 what it would do. Writes
// nothing. Collective; throws as train() does.
ExitCode dry_run(const TrainRequest& request, Communicator& host);

}  // namespace spankey
