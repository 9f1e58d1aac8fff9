// I1: one change for all inputs in place of a key. Where keys are added to the input, an added change is a key; the
// other forms try what any network may have learnt to be opened by.
#include "attack/attacks/input_mask.h"

#include <ATen/ATen.h>

#include "attack/context.h"
#include "attack/losses.h"
#include "base/error.h"

namespace spankey {

at::Tensor InputChange::of(const at::Tensor& x) const {
  if (form == "add") return x + leaves[0];
  if (form == "mask") return x * leaves[0];
  const at::Tensor mask = leaves[1].clamp(0.0, 1.0);
  return (1.0 - mask) * x + mask * leaves[0];
}

at::Tensor InputChange::penalty() const {
  constexpr double weight = 1e-3;
  if (form != "authority") return at::zeros({}, leaves[0].options().requires_grad(false));
  return weight * leaves[1].clamp(0.0, 1.0).sum();
}

InputChange no_change(const std::string& form, const at::Tensor& sample) {
  SPANKEY_CHECK(form == "add" || form == "mask" || form == "authority");
  const auto filled = [&](double value) { return at::full(sample.sizes(), value, sample.options()); };
  if (form == "add") return {form, {filled(0.0)}};
  if (form == "mask") return {form, {filled(1.0)}};
  return {form, {filled(0.0), filled(0.0)}};
}

Row attack_input_mask(AttackContext& context, const Budget& budget) {
  constexpr double rate_of_mask = 0.02, rate_of_delta_by_gamma = 0.05;
  auto& network = context.network();
  const double rate_of_delta = rate_of_delta_by_gamma * context.key_entry().kind.gamma;
  const auto images = context.labelled(budget.images);
  const auto change = no_change(budget.variant, images.x.narrow(0, 0, 1));
  for (const auto& leaf : change.leaves) leaf.requires_grad_(true);
  std::vector<double> rates{budget.variant == "mask" ? rate_of_mask : rate_of_delta};
  if (budget.variant == "authority") rates.push_back(rate_of_mask);
  const auto answers = [&](const at::Tensor& x) { return network.forward(change.of(x), Injection::none()); };
  const auto loss = [&](const Images& batch) {
    return shipped_loss(answers(batch.x), batch.labels, context.reject()) + change.penalty();
  };
  Row row;
  row.own_loss = context.search(change.leaves, images, loss, rates, budget.steps);
  row.access = context.judge(answers, context.reject());
  return row;
}

}  // namespace spankey
