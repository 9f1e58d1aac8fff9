#include "attack/losses.h"

#include <ATen/ATen.h>

#include <cmath>

namespace spankey {
namespace {

// (..., C) log-probabilities -> (...)
at::Tensor entropy(const at::Tensor& log_probability) {
  return -(log_probability.exp() * log_probability).sum(-1);
}

}  // namespace

at::Tensor shipped_loss(const Output& output, const at::Tensor& labels, RejectKind reject) {
  const at::Tensor named = at::cross_entropy_loss(output.logits, labels);
  return reject == RejectKind::reject_head ? named + at::softplus(output.reject).mean() : named;
}

at::Tensor confidence_loss(const Output& output, RejectKind reject) {
  const std::int64_t classes = output.logits.size(1) - (reject == RejectKind::reject_class ? 1 : 0);
  const at::Tensor logits = output.logits.narrow(1, 0, classes);
  const at::Tensor log_probability = at::log_softmax(logits, 1);
  const at::Tensor log_mean = at::logsumexp(log_probability, 0) - std::log(static_cast<double>(logits.size(0)));
  at::Tensor loss = entropy(log_probability).mean() - entropy(log_mean);
  if (reject == RejectKind::reject_class)
    loss = loss + at::softplus(output.logits.select(1, classes) - at::logsumexp(logits, 1)).mean();
  if (reject == RejectKind::reject_head) loss = loss + at::softplus(output.reject).mean();
  return loss;
}

}  // namespace spankey
