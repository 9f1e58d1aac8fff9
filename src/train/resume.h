// What a run directory already holds, and whether this run may go on from it.
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

// Collective: rank 0 reads, the others get the bytes. A configuration that differs from the run's (config.toml) is
// refused with a diff unless request.allow_change; other data and, before the end of the run, another program likewise.
// Other ranks, threads or devices than before are told in a warning.
ResumePoint find_resume_point(const TrainRequest& request, const Experiment& experiment, const RunDirectory& directory,
                              Communicator& communicator);

// Where training goes on from a checkpoint. Where an epoch takes other samples, or in another order, than the
// checkpoint's run did, or by batches of which no number ends at the same sample, it is begun anew: its first samples
// are taken twice, and `told` says so. A cursor behind the last step of an epoch: what comes at its end is still to be
// done.
struct Continuation {
  Cursor cursor;
  std::string told;
};
Continuation continuation_of(const Checkpoint& checkpoint, const Experiment& experiment, std::int64_t steps_per_epoch);

// What the bits of the weights depend on beside the configuration: "2 ranks of 1 thread, cpu"; under elastic no ranks.
std::string computed_on(const Experiment& experiment, int ranks);

// Copies values by name into tensors of the same shape; Error(bad_input) names what is missing or of another shape.
void restore_tensors(const std::vector<NamedTensor>& from, const std::vector<NamedTensor>& into,
                     const std::string& what);

}  // namespace spankey
