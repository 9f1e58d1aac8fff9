#include "spankey/deny/access.h"

#include <ATen/ATen.h>

#include "base/error.h"

namespace spankey {
AccessCounts& AccessCounts::operator+=(const AccessCounts& other) {
  samples += other.samples;
  correct += other.correct;
  strip += other.strip;
  rejected += other.rejected;
  return *this;
}

at::Tensor access_counts(const Output& output, const at::Tensor& labels, RejectKind reject) {
  const at::NoGradGuard no_grad;
  const at::Tensor& logits = output.logits;  // (n, C)
  SPANKEY_CHECK_EQ(logits.size(0), labels.size(0));
  const std::int64_t classes = logits.size(1) - (reject == RejectKind::reject_class ? 1 : 0);
  const at::Tensor stripped_right = logits.narrow(1, 0, classes).argmax(1).eq(labels);
  at::Tensor rejected = at::zeros_like(stripped_right);
  if (reject == RejectKind::reject_class) {
    rejected = logits.argmax(1).eq(classes);
  } else if (reject == RejectKind::reject_head) {
    rejected = output.reject.to(at::kDouble).sigmoid().gt(0.5);
  }
  return at::stack({stripped_right.logical_and(rejected.logical_not()), stripped_right, rejected}).sum(1);
}

AccessCounts count_access(const Output& output, const at::Tensor& labels, RejectKind reject) {
  const auto counts = access_counts(output, labels, reject).to(at::kCPU);
  const auto* values = counts.const_data_ptr<std::int64_t>();
  return {.samples = labels.size(0), .correct = values[0], .strip = values[1], .rejected = values[2]};
}

}  // namespace spankey
