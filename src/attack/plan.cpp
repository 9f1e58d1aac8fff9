#include "attack/plan.h"

#include <algorithm>
#include <numeric>

#include "attack/budgets.h"
#include "base/error.h"
#include "config/names.h"
#include "spankey/models/batch_norm.h"

namespace spankey {
namespace {

// Images on which keys are compared, or about which somebody is asked, are no budget of the attacker's choice.
bool spends_images(const Budget& budget) {
  return budget.images > 0 && budget.queries == 0 && budget.keys == 0 && budget.leaked == 0;
}

// Whoever searches from a leaked key has that one.
bool combines_leaked_keys(const Budget& budget) {
  return budget.leaked > 0 && budget.steps == 0;
}

// Every form of the attack with each of these numbers in place of the preset's. Budgets for which `applies` is false
// stay as they are.
std::vector<Budget> with_counts(const std::vector<Budget>& budgets, const std::vector<std::int64_t>& counts,
                                std::int64_t Budget::*member, bool (*applies)(const Budget&)) {
  if (counts.empty()) return budgets;
  std::vector<Budget> forms, all;
  for (const Budget& budget : budgets) {
    if (!applies(budget)) {
      all.push_back(budget);
      continue;
    }
    Budget form = budget;
    form.*member = 0;
    if (std::find(forms.begin(), forms.end(), form) == forms.end()) forms.push_back(form);
  }
  for (const Budget& form : forms)
    for (const auto count : counts) {
      all.push_back(form);
      all.back().*member = count;
    }
  return all;
}

std::vector<Budget> budgets_of(const Attack& attack, const AttackOptions& options) {
  auto budgets = attack.budgets(options.preset);
  // Whoever names an attack wants it, whatever the preset.
  for (const auto preset : {Preset::standard, Preset::exhaustive})
    if (budgets.empty() && !options.ids.empty()) budgets = attack.budgets(preset);
  if (!options.images.empty())
    std::erase_if(budgets, [](const Budget& budget) { return budget.per_mille > 0 && budget.leaked == 0; });
  budgets = with_counts(budgets, options.images, &Budget::images, spends_images);
  budgets = with_counts(budgets, options.leaked, &Budget::leaked, combines_leaked_keys);
  if (options.keys > 0)
    for (auto& budget : budgets)
      if (budget.keys > 0) {
        budget.queries = budget.queries / budget.keys * options.keys;
        budget.keys = options.keys;
      }
  return budgets;
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

const char* source_words(ImageSource source) {
  return source == ImageSource::heldout ? "the attacker's half of the test split" : "the training split";
}

void require_images(const AttackOptions& options, ImageSource source, std::int64_t offered) {
  for (const auto count : options.images)
    if (count > offered)
      fail_input("--images {}: {} has {}; accepted: 1 to {}", count, source_words(source), offered, offered);
}

// Thousandths as images: at least one. Budgets that come out alike count once.
std::vector<Budget> in_images(const std::vector<Budget>& budgets, std::int64_t offered) {
  std::vector<Budget> all;
  for (Budget budget : budgets) {
    if (budget.per_mille > 0) budget.images = std::max<std::int64_t>(1, offered * budget.per_mille / 1000);
    budget.per_mille = 0;
    if (std::find(all.begin(), all.end(), budget) == all.end()) all.push_back(budget);
  }
  return all;
}

// Why this run has nothing for the budget to be spent on, or nothing where it has.
std::string obstacle(const Attack& attack, const Budget& budget, const AttackedRun& run) {
  if (budget.images > run.data.offered())
    return fmt::format("{}: {} has {} images", budget_text(budget), source_words(run.data.source()),
                       run.data.offered());
  const bool of_batch_norm = attack.run == attack_batch_norm || budget.variant == "affine";
  if (of_batch_norm && batch_norms(*run.experiment.model).empty())
    return fmt::format("{}the network has no BatchNorm", budget.variant.empty() ? "" : budget.variant + ": ");
  const auto& config = run.experiment.config;
  if (attack.run == attack_sign_search &&
      (config.key.inject != Inject::mul || config.key.multiplier != Multiplier::sign))
    return "its keys are no signs";
  if (attack.run == attack_order_match && config.key.permute.empty()) return "features keep their places";
  if (budget.variant == budgets::augmented_variant && config.data.augment == Augment::none)
    return "augmented: the run was trained without augmentation";
  return "";
}

void leave_out(AttackPlan& plan, const Attack& attack, const std::string& why) {
  const auto same = [&](const NotRun& one) { return one.id == attack.id && one.why == why; };
  if (std::none_of(plan.not_run.begin(), plan.not_run.end(), same))
    plan.not_run.push_back({std::string(attack.id), why});
}

// Units of the same budget would be the same unit.
void require_different(const char* option, std::vector<std::int64_t> counts) {
  std::sort(counts.begin(), counts.end());
  const auto twice = std::adjacent_find(counts.begin(), counts.end());
  if (twice != counts.end()) fail_input("{}: {} is named twice; accepted: different numbers", option, *twice);
}

std::int64_t seeds_of(const Attack& attack, const Budget& budget, const AttackOptions& options) {
  return options.seeds > 0 && attack.draws ? options.seeds : budgets::seeds(attack, budget, options.preset);
}

void add_units(AttackPlan& plan, const Attack& attack, const AttackOptions& options, const AttackedRun& run) {
  const auto budgets = in_images(budgets_of(attack, options), run.data.offered());
  if (budgets.empty()) leave_out(plan, attack, "not part of the preset");
  for (const auto& budget : budgets) {
    if (const auto why = obstacle(attack, budget, run); !why.empty()) {
      leave_out(plan, attack, why);
      continue;
    }
    for (std::int64_t seed = 0; seed < seeds_of(attack, budget, options); ++seed)
      plan.units.push_back({&attack, budget, seed, budgets::expected_work(attack, budget, run.data.judged_size())});
  }
}

}  // namespace

void require_attack_options(const AttackOptions& options) {
  named(options.ids);
  require_different("--images", options.images);
  require_different("--leaked", options.leaked);
  if (options.seeds > most_attack_seeds) fail_input("--seeds {}: accepted: 1 to {}", options.seeds, most_attack_seeds);
}

AttackPlan plan_attacks(const AttackOptions& options, const AttackedRun& run) {
  require_attack_options(options);
  require_images(options, run.data.source(), run.data.offered());
  const auto chosen = named(options.ids);
  AttackPlan plan;
  plan.preset = enum_words(options.preset).at(static_cast<std::size_t>(options.preset));
  for (const Attack& attack : attacks()) {
    if (!chosen.empty() && std::find(chosen.begin(), chosen.end(), &attack) == chosen.end())
      leave_out(plan, attack, "not asked for");
    else if (needs_valid_key(attack) && !run.basis)
      leave_out(plan, attack, "no basis: there is no secret/ to take valid keys from");
    else
      add_units(plan, attack, options, run);
  }
  return plan;
}

double expected_images(const AttackOptions& options, std::int64_t offered, std::int64_t judged) {
  require_images(options, ImageSource::train, offered);
  const auto chosen = named(options.ids);
  double images = 0.0;
  for (const Attack& attack : attacks()) {
    if (!chosen.empty() && std::find(chosen.begin(), chosen.end(), &attack) == chosen.end()) continue;
    for (const auto& budget : in_images(budgets_of(attack, options), offered))
      if (budget.images <= offered)
        images +=
            static_cast<double>(seeds_of(attack, budget, options)) * budgets::expected_work(attack, budget, judged);
  }
  return images;
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
