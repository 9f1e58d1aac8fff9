// Returns what attacks on the pass without a key read, its class logits and its features.
#pragma once

#include "attack/context.h"

namespace spankey {

// (n, classes) float64, the reject logit left out.
at::Tensor class_logits(AttackContext& context, const at::Tensor& x);
// (n, everything that the last layer sees) float32.
at::Tensor features(AttackContext& context, const at::Tensor& x);

// Counts over the test split what a function answers that makes (n, classes) logits of a batch.
AccessCounts judge_readout(AttackContext& context, const std::function<at::Tensor(const at::Tensor& x)>& logits);

}  // namespace spankey
