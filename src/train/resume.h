// Finds what a run directory already holds, and decides whether this run may go on from it.
#pragma once

#include <optional>
#include <string>

#include "dist/communicator.h"
#include "record/run_directory.h"
#include "train/checkpoint.h"
#include "train/train_request.h"

namespace spankey {

struct Experiment;

struct ResumePoint {
  bool finished = false;                 // result.json is there and the configuration is unchanged
  std::optional<Checkpoint> checkpoint;  // the newest valid one
};

// Collective. Rank 0 reads, and the others get the bytes. A configuration that differs from the run's (config.toml) is
// refused with a diff unless request.allow_change. So are other data and, before the end of the run, another program. A
// warning tells of other ranks, threads or devices than before.
ResumePoint find_resume_point(const TrainRequest& request, const Experiment& experiment, const RunDirectory& directory,
                              Communicator& communicator);

// Where training goes on from a checkpoint. The epoch is begun anew where it takes other samples than in the
// checkpoint's run, or takes them in another order, or where no whole number of batches ends at the same sample. Its
// first samples are then taken twice, and `told` says so. A cursor behind the last step of an epoch means that only the
// end of the epoch is left to do.
struct Continuation {
  Cursor cursor;
  std::string told;
};
Continuation continuation_of(const Checkpoint& checkpoint, const Experiment& experiment, std::int64_t steps_per_epoch);

// Returns what the bits of the weights depend on beside the configuration, such as "2 ranks of 1 thread, cpu". Under
// elastic it leaves out the ranks.
std::string computed_on(const Experiment& experiment, int ranks);

// Copies values by name into tensors of the same shape. Error(bad_input) names what is missing or has another shape.
void restore_tensors(const std::vector<NamedTensor>& from, const std::vector<NamedTensor>& into,
                     const std::string& what);

}  // namespace spankey
