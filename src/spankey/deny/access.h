// Counts how many samples a pass answers correctly or rejects.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "spankey/deny/deny.h"
#include "spankey/models/model.h"

namespace spankey {

// Sums over samples, so that batches and ranks add up exactly.
struct AccessCounts {
  std::int64_t samples = 0;
  std::int64_t correct = 0;   // answered with the label, not rejected (by the class or by the head)
  std::int64_t strip = 0;     // argmax over the class logits is the label, rejection ignored
  std::int64_t rejected = 0;  // argmax is the reject class, or sigma(reject logit) > 0.5

  AccessCounts& operator+=(const AccessCounts& other);
};

// The same counts but for the samples, in their order, (3) int64, on the device of `output`. The host waits for
// nothing.
at::Tensor access_counts(const Output& output, const at::Tensor& labels, RejectKind reject);

// `labels` is (n) int64 in 0 .. classes-1. If several logits are largest, the first index counts.
AccessCounts count_access(const Output& output, const at::Tensor& labels, RejectKind reject);

}  // namespace spankey
