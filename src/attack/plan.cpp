#include "attack/plan.h"

#include <algorithm>
#include <numeric>

#include "attack/budgets.h"
#include "base/error.h"
#include "config/names.h"

namespace spankey {
namespace {

// Selection images of K1 are no budget of the attacker's choice.
bool spends_images(const Budget& budget) {
  return budget.images > 0 && budget.keys == 0;
}

// Every form of the attack with each of these numbers of images.
std::vector<Budget> with_images(const std::vector<Budget>& budgets, const std::vector<std::int64_t>& images) {
  std::vector<Budget> forms, all;
  for (Budget budget : budgets) {
    if (!spends_images(budget)) {
      all.push_back(budget);
      continue;
    }
    budget.images = 0;
    if (std::find(forms.begin(), forms.end(), budget) == forms.end()) forms.push_back(budget);
  }
  for (Budget form : forms)
    for (const auto count : images) {
      form.images = count;
      all.push_back(form);
    }
  return all;
}

std::vector<Budget> budgets_of(const Attack& attack, const AttackOptions& options) {
  auto budgets = attack.budgets(options.preset);
  if (budgets.empty() && !options.ids.empty()) budgets = attack.budgets(Preset::standard);
  return options.images.empty() ? budgets : with_images(budgets, options.images);
}

std::vector<const Attack*> named(const std::vector<std::string>& ids) {
  std::vector<const Attack*> chosen;
  for (const auto& id : ids) {
    const auto* attack = &find_attack(id);
    if (std::find(chosen.begin(), chosen.end(), attack) != chosen.end())
      fail_input("--attacks: {} is named twice", attack->id);
    chosen.push_back(attack);
  }
  return chosen;
}

void require_images(const AttackOptions& options, std::int64_t available) {
  for (const auto count : options.images)
    if (count > available)
      fail_input("--images {}: the training split has {}; accepted: 1 to {}", count, available, available);
}

void add_units(AttackPlan& plan, const Attack& attack, const AttackOptions& options, const AttackedRun& run) {
  const auto& dataset = *run.experiment.dataset;
  const auto budgets = budgets_of(attack, options);
  if (budgets.empty()) plan.not_run.push_back({std::string(attack.id), "not part of the preset"});
  for (const auto& budget : budgets) {
    if (budget.images > dataset.train().size) {
      plan.not_run.push_back({std::string(attack.id), fmt::format("{}: the training split has {} images",
                                                                  budget_text(budget), dataset.train().size)});
      continue;
    }
    const auto wanted =
        options.seeds > 0 && attack.draws ? options.seeds : budgets::seeds(attack, budget, options.preset);
    for (std::int64_t seed = 0; seed < wanted; ++seed)
      plan.units.push_back({&attack, budget, seed, budgets::expected_work(attack, budget, dataset.test().size)});
  }
}

}  // namespace

AttackPlan plan_attacks(const AttackOptions& options, const AttackedRun& run) {
  require_images(options, run.experiment.dataset->train().size);
  const auto chosen = named(options.ids);
  AttackPlan plan;
  plan.preset = enum_words(options.preset).at(static_cast<std::size_t>(options.preset));
  for (const Attack& attack : attacks()) {
    const auto leave_out = [&](const char* why) { plan.not_run.push_back({std::string(attack.id), why}); };
    if (!chosen.empty() && std::find(chosen.begin(), chosen.end(), &attack) == chosen.end())
      leave_out("not asked for");
    else if (needs_valid_key(attack) && !run.basis)
      leave_out("no basis: there is no secret/ to take valid keys from");
    else
      add_units(plan, attack, options, run);
  }
  return plan;
}

std::vector<int> assign(const std::vector<Unit>& units, int ranks) {
  std::vector<std::size_t> order(units.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return units[a].work > units[b].work; });
  std::vector<double> load(static_cast<std::size_t>(ranks), 0.0);
  std::vector<int> rank_of(units.size(), 0);
  for (const auto i : order) {
    const auto least = std::min_element(load.begin(), load.end());
    *least += units[i].work;
    rank_of[i] = static_cast<int>(least - load.begin());
  }
  return rank_of;
}

}  // namespace spankey
