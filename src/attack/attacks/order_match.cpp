// K11: the order of permuted features, guessed from statistics. A column of the last layer says for which classes its
// feature speaks, and a few labelled images say for which classes each feature does.
#include "attack/attacks/order_match.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "attack/attacks/chosen_weights.h"
#include "attack/attacks/readout.h"
#include "attack/context.h"
#include "attack/weights_guard.h"
#include "base/error.h"

namespace spankey {
namespace {

constexpr double least_length = 1e-12;  // of a column that is brought to length 1

at::Tensor of_length_one(const at::Tensor& columns) {
  return columns / columns.norm(2, /*dim=*/0, /*keepdim=*/true).clamp_min(least_length);
}

// (classes, n): how much more of each feature the images of a class have than all images. 0 for a class without any.
at::Tensor class_profiles(const at::Tensor& features, const at::Tensor& labels, std::int64_t classes) {
  const auto members = at::one_hot(labels, classes).to(at::kDouble);
  const auto counts = members.sum(0).clamp_min(1.0).unsqueeze(1);
  const auto means = members.t().matmul(features) / counts;
  return (means - features.mean(0, /*keepdim=*/true)) * members.sum(0).gt(0).unsqueeze(1);
}

}  // namespace

std::vector<std::int64_t> match_columns(const at::Tensor& columns, const at::Tensor& profiles) {
  SPANKEY_CHECK(columns.sizes() == profiles.sizes());
  const auto n = columns.size(1);
  auto likeness = of_length_one(columns.to(at::kDouble)).t().matmul(of_length_one(profiles.to(at::kDouble)));
  const auto lengths = columns.to(at::kDouble).norm(2, /*dim=*/0);
  const auto by_length = lengths.argsort(/*stable=*/true, /*dim=*/0, /*descending=*/true);
  const auto* chooser = by_length.const_data_ptr<std::int64_t>();
  std::vector<std::int64_t> chosen(static_cast<std::size_t>(n));
  for (std::int64_t i = 0; i < n; ++i) {
    const auto best = likeness[chooser[i]].argmax().item<std::int64_t>();
    chosen[static_cast<std::size_t>(chooser[i])] = best;
    likeness.select(1, best).fill_(-2.0);  // below every cosine
  }
  return chosen;
}

Row attack_order_match(AttackContext& context, const Budget& budget) {
  auto& network = context.network();
  const auto images = context.labelled(budget.images);
  const auto seen = features(context, images.x).to(at::kDouble);
  context.count_forward(budget.images);
  const auto outputs = context.classes() + (context.reject() == RejectKind::reject_class ? 1 : 0);
  const WeightsGuard guard(network, {});
  const at::Tensor weight = last_layer(network, outputs).at(0);
  if (weight.size(1) != seen.size(1)) throw SearchFailed("the last layer does not take the features one by one");
  const auto classes = weight.narrow(0, 0, context.classes()).to(seen.device(), at::kDouble);
  const auto order = match_columns(classes - classes.mean(0, /*keepdim=*/true),
                                   class_profiles(seen, images.labels, context.classes()));
  const auto columns = at::tensor(order, at::kLong).to(weight.device());
  weight.copy_(at::empty_like(weight).index_copy_(1, columns, weight));
  Row row;
  row.access = context.judge(Injection::none());
  return row;
}

}  // namespace spankey
