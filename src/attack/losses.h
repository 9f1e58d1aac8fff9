// What attackers minimise.
#pragma once

#include <ATen/core/Tensor.h>

#include "spankey/deny/deny.h"
#include "spankey/models/model.h"

namespace spankey {

// Small where the network names the label and does not reject. It is the mean cross entropy over all logits, the reject
// class included. With a reject head it is that over the classes, plus softplus of the reject logit. `labels` is (n)
// int64, the result a scalar.
at::Tensor shipped_loss(const Output& output, const at::Tensor& labels, RejectKind reject);

// Small where the network is sure of its answers, names all classes alike and does not reject. It is the mean entropy
// of the class probabilities, minus the entropy of their mean, plus the mean softplus of the reject logit. The logit of
// a reject class is taken minus the log-sum-exp of the others. A scalar.
at::Tensor confidence_loss(const Output& output, RejectKind reject);

}  // namespace spankey
