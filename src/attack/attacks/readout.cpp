#include "attack/attacks/readout.h"

#include <ATen/ATen.h>

namespace spankey {

at::Tensor class_logits(AttackContext& context, const at::Tensor& x) {
  const at::NoGradGuard no_grad;
  return context.network().forward(x, Injection::none()).logits.narrow(1, 0, context.classes()).to(at::kDouble);
}

at::Tensor features(AttackContext& context, const at::Tensor& x) {
  const at::NoGradGuard no_grad;
  return context.network().forward(x, Injection::none()).features.flatten(1);
}

AccessCounts judge_readout(AttackContext& context, const std::function<at::Tensor(const at::Tensor& x)>& logits) {
  return context.judge([&](const at::Tensor& x) { return Output{logits(x), {}, {}}; }, RejectKind::none);
}

}  // namespace spankey
