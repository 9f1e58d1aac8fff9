#include "attack/budgets.h"

#include <algorithm>

#include "attack/fit.h"
#include "spankey/keys/key_family.h"

namespace spankey::budgets {
namespace {

using Counts = std::vector<std::int64_t>;

// Each preset has the numbers of those before it.
Counts by_preset(Preset preset, Counts quick, const Counts& standard, const Counts& exhaustive = {}) {
  if (preset >= Preset::standard) quick.insert(quick.end(), standard.begin(), standard.end());
  if (preset >= Preset::exhaustive) quick.insert(quick.end(), exhaustive.begin(), exhaustive.end());
  return quick;
}

std::int64_t of_preset(Preset preset, std::int64_t quick, std::int64_t standard, std::int64_t exhaustive) {
  if (preset == Preset::exhaustive) return exhaustive;
  return preset == Preset::standard ? standard : quick;
}

std::vector<Budget> of_images(const Counts& counts, std::int64_t steps, const std::string& variant = "") {
  std::vector<Budget> all;
  for (const auto images : counts) all.push_back({.images = images, .steps = steps, .variant = variant});
  return all;
}

void append(std::vector<Budget>& all, const std::vector<Budget>& more) {
  all.insert(all.end(), more.begin(), more.end());
}

}  // namespace

std::vector<Budget> once(Preset) {
  return {Budget{}};
}

std::vector<Budget> correct_key(Preset preset) {
  return {{.keys = of_preset(preset, 4, 16, 16)}};
}

std::vector<Budget> constant_key(Preset) {
  return {{.variant = "none"}, {.variant = "zero"}, {.variant = "plus"}, {.variant = "minus"}};
}

std::vector<Budget> readout(Preset preset) {
  return of_images(by_preset(preset, {10, 60}, {600}, {1000}), 0);
}

std::vector<Budget> searched_readout(Preset preset) {
  return of_images(by_preset(preset, {10, 60}, {600}, {1000}), search_steps);
}

std::vector<Budget> random_keys(Preset preset) {
  return {{.images = selection_images, .keys = of_preset(preset, 100, 1000, 100'000)}};
}

std::vector<Budget> key_families(Preset preset) {
  std::vector<Budget> all;
  for (const auto& name : key_family_names()) all.push_back({.keys = of_preset(preset, 2, 16, 256), .variant = name});
  return all;
}

std::vector<Budget> leaked(Preset preset) {
  std::vector<Budget> all;
  for (const auto keys : by_preset(preset, {1, 3}, {2, 5, 10})) all.push_back({.leaked = keys});
  return all;
}

std::vector<Budget> free_key(Preset preset) {
  auto all = of_images(by_preset(preset, {1, 10}, {100}, {1000}), search_steps);
  for (const char* variant : {"zero", "clamp"})
    append(all, of_images(by_preset(preset, {}, {1, 10}, {100, 1000}), search_steps, variant));
  append(all, of_images(by_preset(preset, {}, {}, {1, 10, 100, 1000}), search_steps, "slot"));
  return all;
}

std::vector<Budget> unlabelled(Preset preset) {
  return of_images(by_preset(preset, {}, {100, 1000}, {10}), search_steps);
}

std::vector<Budget> free_multiplier(Preset preset) {
  return of_images(by_preset(preset, {10}, {1, 100}, {1000}), search_steps);
}

std::vector<Budget> fine_tune(Preset preset) {
  auto all = of_images(by_preset(preset, {60}, {10, 600}), search_steps, "fc");
  append(all, of_images(by_preset(preset, {}, {10, 60, 600}), search_steps, "all"));
  return all;
}

std::vector<Budget> biases(Preset preset) {
  return of_images(by_preset(preset, {10, 60}, {600}), search_steps);
}

std::vector<Budget> scratch(Preset preset) {
  return of_images(by_preset(preset, {10, 60}, {1, 100, 600}), search_steps);
}

std::int64_t seeds(const Attack& attack, const Budget& budget, Preset preset) {
  if (!attack.draws) return 1;
  if (preset == Preset::exhaustive && budget.leaked > 0 && budget.steps == 0) return coalitions;
  return preset == Preset::quick && budget.images >= 60 ? 1 : 3;
}

double expected_work(const Attack& attack, const Budget& budget, std::int64_t test_samples) {
  constexpr double forward_and_backward = 3.0;
  const auto batch = static_cast<double>(std::min(budget.images, largest_full_batch));
  const auto searched = static_cast<double>(budget.steps) * batch * forward_and_backward;
  const double tried = has(attack.knows, Know::owner)
                           ? static_cast<double>(budget.keys * test_samples)
                           : static_cast<double>(std::max(budget.keys * budget.images, budget.queries) + test_samples);
  return searched + tried;
}

}  // namespace spankey::budgets
