// Plans a suite of attacks. The plan says which units of work are run, and what is left out and why.
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

inline constexpr std::int64_t most_attack_seeds = 1000;

// Error(bad_input) for what no run could have: an unknown attack, one named twice, a number named twice, more attack
// seeds than there may be.
void require_attack_options(const AttackOptions& options);

// Error(bad_input) likewise, and for more images than the attacker may have.
AttackPlan plan_attacks(const AttackOptions& options, const AttackedRun& run);

// Returns the work of all units together (budgets::expected_work) where there is no run yet, for `offered` images of
// the attacker and `judged` test images. Throws Error(bad_input) for more images than the training split of `offered`
// has.
double expected_images(const AttackOptions& options, std::int64_t offered, std::int64_t judged);

// Returns the rank of each unit. The heaviest unit is assigned first, and each goes to the rank with the least work so
// far.
std::vector<int> assign(const std::vector<Unit>& units, int ranks);

}  // namespace spankey
