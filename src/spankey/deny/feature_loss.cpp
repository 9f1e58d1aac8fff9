#include "spankey/deny/feature_loss.h"

#include <ATen/ATen.h>

namespace spankey {
namespace {

// The mean of the features (n, d) of each sample's class less the mean over all samples, (n, d).
at::Tensor class_directions(const at::Tensor& features, const at::Tensor& labels, std::int64_t classes) {
  const at::Tensor numbers = at::arange(classes, labels.options());
  const at::Tensor members = labels.unsqueeze(1).eq(numbers).to(features.scalar_type());  // (n, classes)
  const at::Tensor means = members.t().matmul(features) / members.sum(0).clamp_min(1).unsqueeze(1);
  return means.index_select(0, labels) - features.mean(0, true);
}

}  // namespace

at::Tensor feature_loss(const DenyInputs& inputs) {
  const at::Tensor correct = inputs.correct.features.detach().flatten(1);
  const at::Tensor directions = class_directions(correct, inputs.labels, inputs.correct.logits.size(1));
  // The bound of the norms keeps rounding from being taken for the direction of the only class of a shard.
  return average_over_passes(inputs, [&](const Output& output) {
    return at::cosine_similarity(output.features.flatten(1), directions, 1, /*eps=*/1e-5).relu();
  });
}

}  // namespace spankey
