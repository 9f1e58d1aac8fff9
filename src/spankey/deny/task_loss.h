// The task loss, which is the cross entropy with the labels given a valid key.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace spankey {

// Label smoothing (Szegedy et al. 2016). The target of a sample is (1 - share) of its label plus share / classes of
// each class of the data. A reject class, which follows those in the logits, gets nothing.
struct LabelSmoothing {
  double share = 0.0;        // train.label_smoothing
  std::int64_t classes = 0;  // of the data, ignored where `share` is 0
};

// The sum of -log softmax at `labels` over the rows of `logits`, divided by `global_batch`, so that shards add up to
// the mean over the whole batch. With smoothing it is the cross entropy with the smoothed targets. `logits` is
// (n, classes) or has a reject class more, `labels` (n) int64, contiguous. Throws ATen's error for a label out of
// range.
at::Tensor task_loss(const at::Tensor& logits, const at::Tensor& labels, double global_batch,
                     const LabelSmoothing& smoothing = {});

}  // namespace spankey
