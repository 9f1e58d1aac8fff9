// Asks a network about many samples and hands out the answers in the order of the samples.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "dist/communicator.h"
#include "predict/prediction.h"

namespace spankey {

struct PredictionCounts {
  std::int64_t samples = 0, rejected = 0;
  std::int64_t right = 0;  // answered with the label and not rejected, where there are labels
  std::int64_t strip = 0;  // the best class is the label, rejection ignored
  bool stopped = false;    // a rank was asked to stop: the first `samples` are answered
};

struct PredictRequest {
  std::int64_t top = 1;
  std::function<void(const std::string& lines)> print;   // called on rank 0 alone, in order
  std::function<void(double share)> progress = nullptr;  // called on rank 0 with the share that is done
};

// Collective. The samples are cut into batches of evaluation_batch, whatever the number of ranks. Each round takes one
// batch a rank. Returns the counts over all samples on every rank, or over those that are printed where a rank was
// asked to stop, which ends the work after the round. Throws the errors of the source on all ranks.
PredictionCounts predict(const GatedNetwork& network, const SampleSource& samples, const PredictionWriter& writer,
                         const PredictRequest& request, Communicator& communicator);

}  // namespace spankey
