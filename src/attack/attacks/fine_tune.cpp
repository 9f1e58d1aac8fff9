// W1 and W2: the network itself is trained on without a key: its last layer, all of it, or what every layer adds and
// scales by.
#include <ATen/ATen.h>

#include "attack/context.h"
#include "attack/losses.h"
#include "attack/weights_guard.h"
#include "base/error.h"

namespace spankey {
namespace {

// The last matrix with a row for each output, its bias, and the reject head.
std::vector<at::Tensor> last_layer(const Model& model, std::int64_t outputs) {
  const auto parameters = model.named_parameters();
  std::string layer;
  for (const auto& entry : parameters)
    if (entry.value().dim() == 2 && entry.value().size(0) == outputs && entry.key().ends_with(".weight"))
      layer = entry.key().substr(0, entry.key().size() - std::string_view("weight").size());
  SPANKEY_CHECK(!layer.empty());
  std::vector<at::Tensor> chosen;
  for (const auto& entry : parameters)
    if (entry.key().starts_with(layer) || entry.key().starts_with("fc_aux.")) chosen.push_back(entry.value());
  return chosen;
}

// Biases, and the scales of normalisations.
std::vector<at::Tensor> vectors(const Model& model) {
  std::vector<at::Tensor> chosen;
  for (const auto& parameter : model.parameters())
    if (parameter.dim() == 1) chosen.push_back(parameter);
  return chosen;
}

Row tune(AttackContext& context, const Budget& budget, const std::vector<at::Tensor>& leaves, double lr) {
  auto& network = context.network();
  const WeightsGuard guard(network, leaves);
  const auto answers = [&](const at::Tensor& x) { return network.forward(x, Injection::none()); };
  const auto loss = [&](const Images& batch) { return shipped_loss(answers(batch.x), batch.labels, context.reject()); };
  Row row;
  row.own_loss = context.search(leaves, context.labelled(budget.images), loss, lr, budget.steps);
  row.access = context.judge(answers, context.reject());
  return row;
}

}  // namespace

Row attack_fine_tune(AttackContext& context, const Budget& budget) {
  constexpr double lr_of_last_layer = 1e-2, lr_of_all = 1e-3;
  const auto& network = context.network();
  if (budget.variant == "all") return tune(context, budget, network.parameters(), lr_of_all);
  SPANKEY_CHECK(budget.variant == "fc");
  const auto outputs = context.classes() + (context.reject() == RejectKind::reject_class ? 1 : 0);
  return tune(context, budget, last_layer(network, outputs), lr_of_last_layer);
}

Row attack_biases(AttackContext& context, const Budget& budget) {
  constexpr double lr = 1e-2;
  return tune(context, budget, vectors(context.network()), lr);
}

}  // namespace spankey
