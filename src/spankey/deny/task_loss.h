// The task loss, which is the cross entropy with the labels given a valid key.
#pragma once

#include <ATen/core/Tensor.h>

namespace spankey {

// The sum of -log softmax at `labels` over the rows of `logits`, divided by `global_batch`, so that shards add up to
// the mean over the whole batch. `logits` is (n, classes), `labels` (n) int64, contiguous. Throws ATen's error for a
// label out of range.
at::Tensor task_loss(const at::Tensor& logits, const at::Tensor& labels, double global_batch);

}  // namespace spankey
