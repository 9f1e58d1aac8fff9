// K10: the factors of a lock whose keys are signs, found as signs. Few labels have to decide one bit for each element,
// where a free multiplier (K7) is a number. The order of permuted features stays unknown: a last layer that is learnt
// anew needs none.
#include "attack/attacks/sign_search.h"

#include <ATen/ATen.h>

#include <vector>

#include "attack/attacks/chosen_weights.h"
#include "attack/attacks/fine_tune.h"
#include "attack/context.h"
#include "attack/key_attacks/search_key.h"
#include "attack/losses.h"
#include "attack/weights_guard.h"
#include "base/error.h"

namespace spankey {
namespace {

at::Tensor signs_of(const at::Tensor& values) {
  return at::where(values.ge(0.0), at::ones_like(values), -at::ones_like(values));
}

// Gradients pass as if no sign had been taken (Courbariaux et al., NIPS 2015).
at::Tensor signs_for_gradients(const at::Tensor& values) {
  return values + (signs_of(values) - values).detach();
}

// Everything about the searched network but the way of the search.
class SignedNetwork {
 public:
  SignedNetwork(AttackContext& context, const Images& images)
      : context_(context), network_(context.network()), layers_(context.key_entry().layers), images_(images) {}

  const Images& images() const { return images_; }
  at::Tensor loss(const Images& batch, const std::vector<at::Tensor>& signs) const {
    const auto output = network_.forward(batch.x, Injection::of_multipliers(layers_, signs));
    return shipped_loss(output, batch.labels, context_.reject());
  }
  Row row(const std::vector<at::Tensor>& signs, double own_loss) const {
    const at::NoGradGuard no_grad;
    Row row;
    row.own_loss = own_loss;
    context_.note_keys(signs);
    row.access = context_.judge(Injection::of_multipliers(layers_, signs));
    return row;
  }

 private:
  AttackContext& context_;
  Model& network_;
  std::vector<std::int64_t> layers_;
  const Images& images_;
};

// `last` are weights that are learnt along, or none.
Row search_by_gradient(AttackContext& context, const SignedNetwork& network, const std::vector<at::Tensor>& last,
                       std::int64_t steps) {
  std::vector<at::Tensor> leaves;
  std::vector<double> rates;
  for (const auto& start : context.normal_keys(0)) leaves.push_back(start.clone().requires_grad_(true));
  const auto layers = leaves.size();
  rates.assign(layers, rate_of_free_key);
  leaves.insert(leaves.end(), last.begin(), last.end());
  rates.resize(leaves.size(), rate_of_last_layer);
  const auto signs = [&](at::Tensor (*take)(const at::Tensor&)) {
    std::vector<at::Tensor> all;
    for (std::size_t i = 0; i < layers; ++i) all.push_back(take(leaves[i]));
    return all;
  };
  const double loss = context.search(
      leaves, network.images(), [&](const Images& batch) { return network.loss(batch, signs(signs_for_gradients)); },
      rates, steps);
  const at::NoGradGuard no_grad;
  return network.row(signs(signs_of), loss);
}

Row search_by_coordinates(AttackContext& context, const SignedNetwork& network, std::int64_t flips) {
  std::vector<at::Tensor> starts;
  for (const auto& start : context.normal_keys(0)) starts.push_back(signs_of(start).flatten());
  const auto all = at::cat(starts);
  std::vector<at::Tensor> signs;
  std::int64_t begin = 0;
  for (const auto& start : starts) {
    signs.push_back(all.narrow(0, begin, start.numel()).unsqueeze(0));
    begin += start.numel();
  }
  std::vector<std::int64_t> order;
  for (std::int64_t round = 0; std::ssize(order) < flips; ++round) {
    const auto more = context.order(round, all.numel());
    order.insert(order.end(), more.begin(), more.end());
  }
  order.resize(static_cast<std::size_t>(flips));
  const double loss = descend_signs(all, order, [&] {
    context.count_forward(network.images().size());
    return network.loss(network.images(), signs).item<double>();
  });
  return network.row(signs, loss);
}

}  // namespace

double descend_signs(const at::Tensor& signs, std::span<const std::int64_t> order,
                     const std::function<double()>& loss) {
  auto* values = signs.mutable_data_ptr<float>();
  double best = loss();
  for (const auto i : order) {
    values[i] = -values[i];
    const double now = loss();
    if (now < best)
      best = now;
    else
      values[i] = -values[i];
  }
  return best;
}

Row attack_sign_search(AttackContext& context, const Budget& budget) {
  SPANKEY_CHECK(budget.variant == "gradient" || budget.variant == "coordinates" || budget.variant == "new last layer");
  auto& network = context.network();
  const auto images = context.labelled(budget.images);
  const SignedNetwork searched(context, images);
  if (budget.variant == "coordinates") return search_by_coordinates(context, searched, budget.steps);
  const auto outputs = context.classes() + (context.reject() == RejectKind::reject_class ? 1 : 0);
  const bool anew = budget.variant == "new last layer";
  const auto last = anew ? last_layer(network, outputs) : std::vector<at::Tensor>();
  const WeightsGuard guard(network, last);
  if (anew) {
    const at::NoGradGuard no_grad;
    const auto drawn = last_layer(*context.network_drawn_anew(), outputs);
    for (std::size_t i = 0; i < last.size(); ++i) last[i].copy_(drawn[i]);
  }
  return search_by_gradient(context, searched, last, budget.steps);
}

}  // namespace spankey
