// K9: the three searches of the reference implementation. Whoever runs them has the secret basis, so that all they can
// find is one valid key or another.
#include "attack/key_attacks/alpha_search.h"

#include <ATen/ATen.h>

#include "attack/budgets.h"
#include "attack/losses.h"
#include "attack/student.h"
#include "attack/weights_guard.h"
#include "base/error.h"
#include "spankey/ops/gram.h"

namespace spankey {
namespace {

// Coefficients of each slot, uniform on (low, 1 - low).
std::vector<at::Tensor> random_alphas(const AttackContext& context, const KeyRules& rules, std::int64_t m,
                                      std::int64_t number, double low) {
  std::vector<at::Tensor> alphas;
  for (std::int64_t slot = 0; slot < rules.alpha_slots(); ++slot) {
    const auto uniform = at::tensor(context.uniforms(number * rules.alpha_slots() + slot, m), at::kDouble);
    alphas.push_back((low + (1 - 2 * low) * uniform).to(at::kFloat).view({1, m}));
  }
  return alphas;
}

// The network in training mode, as the reference has it during its search, and as it was afterwards.
class TrainingMode {
 public:
  explicit TrainingMode(Model& network) : guard_(network, {}), network_(network) { network_.train(); }
  ~TrainingMode() { network_.eval(); }
  TrainingMode(const TrainingMode&) = delete;
  TrainingMode& operator=(const TrainingMode&) = delete;

 private:
  WeightsGuard guard_;
  Model& network_;
};

Row search_by_gradient(AttackContext& context, const Budget& budget, const KeyRules& rules) {
  constexpr double low = 1e-3;
  auto& network = context.network();
  const auto entry = context.key_entry();
  const auto images = context.augmented(budget.images);
  const auto alphas = random_alphas(context, rules, entry.m, 0, low);
  for (const auto& alpha : alphas) alpha.requires_grad_(true);
  Row row;
  {
    const TrainingMode training(network);
    row.own_loss = context.search(alphas, images, alpha_loss(network, entry, rules, alphas, context.reject()),
                                  alpha_search_lr, budget.steps, [&] { keep_inside(alphas); });
  }
  const at::NoGradGuard no_grad;
  row.access = context.judge_key(keys_of_alphas(rules, alphas, entry.std));
  return row;
}

Row search_by_trial(AttackContext& context, const Budget& budget, const KeyRules& rules, std::int64_t first) {
  const auto entry = context.key_entry();
  const auto images = context.test_images(budgets::reference_selection);
  std::int64_t best = -1;
  std::vector<at::Tensor> best_keys;
  for (std::int64_t i = 0; i < budget.keys; ++i) {
    const auto keys = keys_of_alphas(rules, random_alphas(context, rules, entry.m, first + i, 0.0), entry.std);
    const auto key = context.keyed(keys);
    const auto answers = answers_in_batches(images.x, [&](const at::Tensor& x) { return context.query(x, key); });
    const auto right = answers.eq(images.labels).sum().item<std::int64_t>();
    if (right <= best) continue;
    best = right;
    best_keys = keys;
  }
  Row row;
  row.own_loss = 1.0 - static_cast<double>(best) / static_cast<double>(images.size());
  row.access = context.judge_key(best_keys);
  return row;
}

}  // namespace

std::vector<at::Tensor> keys_of_alphas(const KeyRules& rules, const std::vector<at::Tensor>& alphas, double std) {
  std::vector<at::Tensor> slots;
  for (std::int64_t slot = 0; slot < rules.key_slots(); ++slot) {
    const at::Tensor& alpha = alphas[static_cast<std::size_t>(rules.slot_of(slot, alphas.size()))];
    const at::Tensor basis = rules.slot_basis(slot).to(alpha.scalar_type());
    slots.push_back(rescale_differentiably(alpha.matmul(basis), std));
  }
  return rules.layer_keys(slots);
}

BatchLoss alpha_loss(Model& network, const KeyEntry& entry, const KeyRules& rules,
                     const std::vector<at::Tensor>& alphas, RejectKind reject) {
  return [&, reject](const Images& batch) {
    const auto key = Injection::of_keys(entry.layers, keys_of_alphas(rules, alphas, entry.std), entry.kind);
    return shipped_loss(network.forward(batch.x, key), batch.labels, reject);
  };
}

void keep_inside(const std::vector<at::Tensor>& alphas) {
  constexpr double margin = 1e-6;
  const at::NoGradGuard no_grad;
  for (const auto& alpha : alphas) alpha.clamp_(margin, 1 - margin);
}

// Under "adaptive" and "blackbox" the reference runs the same search with other seeds.
Row attack_alpha_search(AttackContext& context, const Budget& budget) {
  const auto rules = context.key_rules();
  SPANKEY_CHECK(budget.variant == "adaptive" || budget.variant == "blackbox" || budget.variant == "gradient");
  Row row = budget.variant == "gradient"
                ? search_by_gradient(context, budget, rules)
                : search_by_trial(context, budget, rules, budget.variant == "adaptive" ? 0 : budget.keys);
  row.detail["reproduction"] = "valid keys by construction, not in the worst case";
  return row;
}

}  // namespace spankey
