// What attackers minimise.
#pragma once

#include <ATen/core/Tensor.h>

#include "spankey/deny/deny.h"
#include "spankey/models/model.h"

namespace spankey {

// That the network names the label and does not reject: mean cross entropy over all logits, the reject class included;
// with a reject head, over the classes, plus softplus of the reject logit. `labels`: (n) int64. A scalar.
at::Tensor shipped_loss(const Output& output, const at::Tensor& labels, RejectKind reject);

// That the network is sure of an answer, names all classes alike and does not reject: the mean entropy of the class
// probabilities, minus the entropy of their mean, plus the mean softplus of the reject logit (for a reject class: of
// its logit minus the log-sum-exp of the others). A scalar.
at::Tensor confidence_loss(const Output& output, RejectKind reject);

}  // namespace spankey
