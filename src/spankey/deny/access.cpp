#include "spankey/deny/access.h"

#include <ATen/ATen.h>

#include "base/error.h"

namespace spankey {
namespace {

std::int64_t count(const at::Tensor& mask) {
  return mask.sum().item<std::int64_t>();
}

}  // namespace

AccessCounts& AccessCounts::operator+=(const AccessCounts& other) {
  samples += other.samples;
  correct += other.correct;
  strip += other.strip;
  rejected += other.rejected;
  return *this;
}

AccessCounts count_access(const Output& output, const at::Tensor& labels, RejectKind reject) {
  const at::NoGradGuard no_grad;
  const at::Tensor& logits = output.logits;  // (n, C)
  SPANKEY_CHECK_EQ(logits.size(0), labels.size(0));
  AccessCounts counts;
  counts.samples = labels.size(0);
  if (counts.samples == 0) return counts;
  const std::int64_t classes = logits.size(1) - (reject == RejectKind::reject_class ? 1 : 0);
  const at::Tensor stripped_right = logits.narrow(1, 0, classes).argmax(1).eq(labels);
  at::Tensor rejected = at::zeros_like(stripped_right);
  if (reject == RejectKind::reject_class) {
    rejected = logits.argmax(1).eq(classes);
  } else if (reject == RejectKind::reject_head) {
    rejected = output.reject.to(at::kDouble).sigmoid().gt(0.5);
  }
  counts.strip = count(stripped_right);
  counts.rejected = count(rejected);
  counts.correct = count(stripped_right.logical_and(rejected.logical_not()));
  return counts;
}

}  // namespace spankey
