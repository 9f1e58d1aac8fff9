// The means that each attack is given, by preset. They are constants: nothing is tuned on the test split.
#pragma once

#include <vector>

#include "attack/attack.h"

namespace spankey::budgets {

inline constexpr std::int64_t search_steps = 300;      // of every gradient search
inline constexpr std::int64_t selection_images = 256;  // on which keys are compared

std::vector<Budget> once(Preset preset);
std::vector<Budget> correct_key(Preset preset);
std::vector<Budget> constant_key(Preset preset);
std::vector<Budget> readout(Preset preset);
std::vector<Budget> searched_readout(Preset preset);
std::vector<Budget> random_keys(Preset preset);
std::vector<Budget> key_families(Preset preset);
std::vector<Budget> leaked(Preset preset);
std::vector<Budget> free_key(Preset preset);
std::vector<Budget> unlabelled(Preset preset);
std::vector<Budget> free_multiplier(Preset preset);
std::vector<Budget> fine_tune(Preset preset);
std::vector<Budget> biases(Preset preset);
std::vector<Budget> scratch(Preset preset);

// Attack seeds that a budget is tried with. Few images differ much from selection to selection, so they get three.
std::int64_t seeds(const Attack& attack, const Budget& budget, Preset preset);

// Images that a unit sends through a network, forward and backward as two of three: what units are weighed by.
double expected_work(const Attack& attack, const Budget& budget, std::int64_t test_samples);

}  // namespace spankey::budgets
