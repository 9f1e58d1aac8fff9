#include "attack/budgets.h"

#include <fmt/format.h>

#include <algorithm>

#include "attack/fit.h"
#include "attack/student.h"
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

// A tenth of a percent of the images, one percent, ten percent.
std::vector<Budget> of_shares(Preset preset, std::int64_t steps, const std::string& variant = "") {
  std::vector<Budget> all;
  if (preset == Preset::exhaustive)
    for (const std::int64_t per_mille : {1, 10, 100})
      all.push_back({.steps = steps, .variant = variant, .per_mille = per_mille});
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

std::vector<Budget> acceptance(Preset preset) {
  if (preset == Preset::quick) return {};
  const auto keys = of_preset(preset, 0, 20, 64);  // at each level
  return {{.keys = keys * cosine_levels, .variant = "cosine"}, {.keys = keys * norm_levels, .variant = "norm"}};
}

std::vector<Budget> queried_search(Preset preset) {
  std::vector<Budget> all;
  for (const auto queries : by_preset(preset, {}, {10'000}, {1'000, 100'000}))
    all.push_back({.images = search_images, .queries = queries});
  return all;
}

std::vector<Budget> alpha_search(Preset preset) {
  if (preset == Preset::quick) return {};
  constexpr std::int64_t keys = 400;
  std::vector<Budget> all;
  for (const char* variant : {"adaptive", "blackbox"})
    all.push_back({.queries = keys * reference_selection, .keys = keys, .variant = variant});
  all.push_back({.images = largest_full_batch, .steps = search_steps, .variant = "gradient"});
  return all;
}

std::vector<Budget> collusion(Preset preset) {
  std::vector<Budget> all;
  for (const char* variant : {"mean", "median", "min-max", "mosaic", "noise .1", "noise .3", "noise 1", "svd"})
    for (const auto keys : by_preset(preset, {}, {3, 10}, {1, 2, 5, 20}))
      all.push_back({.leaked = keys, .variant = variant});
  return all;
}

std::vector<Budget> evasion(Preset preset) {
  std::vector<Budget> all;
  for (const auto keys : by_preset(preset, {}, {1}, {5}))
    all.push_back({.images = selection_images, .steps = evasion_steps, .leaked = keys});
  return all;
}

std::vector<Budget> extraction(Preset preset) {
  std::vector<Budget> all;
  for (const char* variant : {"labels", "scores"})
    for (const auto images : by_preset(preset, {}, {1'000}, {10'000, 50'000}))
      all.push_back({.images = images, .steps = student_steps, .queries = images, .variant = variant});
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
  append(all, of_images(by_preset(preset, {}, {}, {1, 10, 100}), search_steps, augmented_variant));
  return all;
}

std::vector<Budget> unlabelled(Preset preset) {
  return of_images(by_preset(preset, {}, {100, 1000}, {10}), search_steps);
}

std::vector<Budget> free_multiplier(Preset preset) {
  return of_images(by_preset(preset, {10}, {1, 100}, {1000}), search_steps);
}

std::vector<Budget> sign_search(Preset preset) {
  std::vector<Budget> all;
  for (const char* variant : {"gradient", "new last layer"})
    append(all, of_images(by_preset(preset, {}, {10, 60}, {600}), search_steps, variant));
  append(all, of_images(by_preset(preset, {}, {10}, {60}), coordinate_flips, "coordinates"));
  return all;
}

std::vector<Budget> order_match(Preset preset) {
  return of_images(by_preset(preset, {}, {60, 600}, {1000}), 0);
}

std::vector<Budget> fine_tune(Preset preset) {
  auto all = of_images(by_preset(preset, {60}, {10, 600}), search_steps, "fc");
  append(all, of_images(by_preset(preset, {}, {10, 60, 600}), search_steps, "all"));
  for (const char* variant : {"rtll", "rtal"})
    append(all, of_images(by_preset(preset, {}, {60}, {10, 600}), search_steps, variant));
  append(all, of_images(by_preset(preset, {}, {}, {10, 60, 600}), search_steps, augmented_variant));
  for (const char* variant : {"fc", "all", "rtll", "rtal"}) append(all, of_shares(preset, search_steps, variant));
  return all;
}

std::vector<Budget> standardised(Preset preset) {
  auto all = of_images(by_preset(preset, {10, 60}, {600}), search_steps);
  append(all, of_shares(preset, search_steps));
  return all;
}

std::vector<Budget> biases(Preset preset) {
  std::vector<Budget> all;
  for (const char* variant : {"", "affine"}) {
    append(all, of_images(by_preset(preset, {10, 60}, {600}), search_steps, variant));
    append(all, of_shares(preset, search_steps, variant));
  }
  return all;
}

std::vector<Budget> recalibrated(Preset preset) {
  return of_images(by_preset(preset, {100}, {1000}, {10'000}), 0);
}

std::vector<Budget> pruned(Preset preset) {
  std::vector<Budget> all;
  if (preset >= Preset::standard)
    for (int percent = 0; percent < 100; percent += 10) all.push_back({.variant = fmt::format("{} % pruned", percent)});
  return all;
}

std::vector<Budget> fine_pruned(Preset preset) {
  std::vector<Budget> all;
  for (const auto percent : by_preset(preset, {}, {30, 60, 90}, {0, 10, 20, 40, 50, 70, 80}))
    append(all, of_images({60}, search_steps, fmt::format("{} % pruned", percent)));
  return all;
}

std::vector<Budget> few_bits(Preset preset) {
  std::vector<Budget> all;
  for (const auto bits : by_preset(preset, {}, {8, 6, 5, 4})) all.push_back({.variant = fmt::format("{} bits", bits)});
  return all;
}

std::vector<Budget> weight_noise(Preset preset) {
  if (preset == Preset::quick) return {};
  return {{.variant = "0.01 of RMS"}, {.variant = "0.03 of RMS"}, {.variant = "0.1 of RMS"}};
}

std::vector<Budget> input_change(Preset preset) {
  auto all = of_images(by_preset(preset, {}, {10, 100}, {1, 1000}), search_steps, "add");
  for (const char* variant : {"mask", "authority"})
    append(all, of_images(by_preset(preset, {}, {10}, {1, 100, 1000}), search_steps, variant));
  return all;
}

std::vector<Budget> combined(Preset preset) {
  std::vector<Budget> all;
  for (const char* variant : {"biases", "biases and key", "factors and last layer"})
    append(all, of_images(by_preset(preset, {}, {10, 60}), search_steps, variant));
  return all;
}

std::vector<Budget> distilled(Preset preset) {
  std::vector<Budget> all;
  if (preset >= Preset::standard) all.push_back({.images = 1000, .steps = student_steps, .leaked = 1});
  if (preset == Preset::exhaustive)
    for (const std::int64_t per_mille : {100, 1000})
      all.push_back({.steps = student_steps, .leaked = 1, .per_mille = per_mille});
  return all;
}

std::vector<Budget> scratch(Preset preset) {
  auto all = of_images(by_preset(preset, {10, 60}, {1, 100, 600}, {1000}), search_steps);
  append(all, of_images(by_preset(preset, {}, {}, {10, 60, 600}), search_steps, augmented_variant));
  append(all, of_shares(preset, search_steps));
  return all;
}

std::int64_t seeds(const Attack& attack, const Budget& budget, Preset preset) {
  if (!attack.draws) return 1;
  if (preset == Preset::exhaustive && budget.leaked > 0 && budget.steps == 0) return coalitions;
  return preset == Preset::quick && budget.images >= 60 ? 1 : 3;
}

// The constants were measured on a small convolutional network and one core, in forward passes of one image among many.
double expected_work(const Attack& attack, const Budget& budget, std::int64_t test_samples) {
  constexpr double forward_and_backward = 5.0, overhead_of_a_step = 2.0, tracing = 10'000.0, image_of_large_batch = 0.5;
  const auto images = budget.variant == augmented_variant ? budget.images * augmented_copies : budget.images;
  const auto batch = static_cast<double>(std::min(images, largest_full_batch)) + overhead_of_a_step;
  const bool in_network = attack.run != attack_probe;  // which searches on features
  const double searched = in_network ? static_cast<double>(budget.steps) * batch * forward_and_backward : 0.0;
  if (has(attack.knows, Know::owner)) return searched + static_cast<double>(budget.keys * test_samples);
  const double asked = static_cast<double>(std::max(budget.keys * budget.images, budget.queries));
  return searched + asked * (attack.run == attack_alpha_search ? image_of_large_batch : 1.0) +
         (attack.run == attack_collusion ? tracing : 0.0) + static_cast<double>(test_samples);
}

}  // namespace spankey::budgets
