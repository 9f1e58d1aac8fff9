// What the network is to learn with a valid key: cross entropy with the labels.
#pragma once

#include <ATen/core/Tensor.h>

namespace spankey {

// Sum over the rows of logits (n, classes) of -log softmax at labels (n) int64, contiguous, divided by `global_batch`:
// shards add up to the mean over the whole batch. Throws ATen's error for a label out of range.
at::Tensor task_loss(const at::Tensor& logits, const at::Tensor& labels, double global_batch);

}  // namespace spankey
