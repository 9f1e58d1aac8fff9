// What is to be run: units of work, and what is left out and why.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "attack/attack.h"
#include "attack/attacked_run.h"

namespace spankey {

struct AttackOptions {
  Preset preset = Preset::quick;
  std::vector<std::string> ids = {};      // empty: all
  std::vector<std::int64_t> images = {};  // in place of the preset's numbers of images; empty: those
  std::vector<std::int64_t> leaked = {};  // likewise of leaked keys
  std::int64_t keys = 0;                  // tried by the rows that try a number of keys; 0: the preset's
  std::int64_t seeds = 0;                 // of every attack that draws; 0: the preset's
};

struct Unit {
  const Attack* attack;
  Budget budget;
  std::int64_t seed = 0;
  double work = 0.0;  // budgets::expected_work()
};

struct NotRun {
  std::string id, why;
};

struct AttackPlan {
  std::string preset;
  std::vector<Unit> units;  // in the order of the registry
  std::vector<NotRun> not_run;
};

// Error(bad_input) for an unknown attack, one named twice, a number named twice, and more images than the attacker
// may have.
AttackPlan plan_attacks(const AttackOptions& options, const AttackedRun& run);

// The work of all units together (budgets::expected_work), for whoever has no run yet: of `offered` images of the
// attacker and `judged` test images.
double expected_images(const AttackOptions& options, std::int64_t offered, std::int64_t judged);

// The rank of each unit: the heaviest first, each to the rank with the least work so far.
std::vector<int> assign(const std::vector<Unit>& units, int ranks);

}  // namespace spankey
