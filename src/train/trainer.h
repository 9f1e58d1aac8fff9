// Trains one run from its start, or from its last checkpoint, to its result.
#pragma once

#include "base/error.h"
#include "dist/communicator.h"
#include "train/train_request.h"

namespace spankey {

// Collective. `host` communicates tensors of the CPU. Returns done, also where the run has paused after
// request.pause_epochs epochs, or requeue after a requested stop (signal, STOP file, train.max_seconds). Prints
// progress and the final table on rank 0. Throws Error for everything else.
ExitCode train(const TrainRequest& request, Communicator& host);

}  // namespace spankey
