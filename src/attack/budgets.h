// The means that attacks are given, by preset. They are constants, because nothing is tuned on the test split. The
// functions that return them are named by attack/attacks.inc and declared in attack.h.
#pragma once

#include <vector>

#include "attack/attack.h"

namespace spankey::budgets {

inline constexpr std::int64_t search_steps = 300;              // of every gradient search
inline constexpr std::int64_t evasion_steps = 100;             // of L2
inline constexpr std::int64_t selection_images = 256;          // on which keys are compared
inline constexpr std::int64_t search_images = 64;              // about which somebody else is asked, key after key
inline constexpr int cosine_levels = 11, norm_levels = 7;      // of K3
inline constexpr std::int64_t reference_selection = 15 * 128;  // test images by which K9 chooses, as the reference
inline constexpr std::int64_t coalitions = 20;                 // of holders of leaked keys, in the exhaustive preset

inline constexpr std::int64_t coordinate_flips = 10'000;  // of K10
// Copies of each image that a thief who augments learns from, as many epochs would show them.
inline constexpr std::int64_t augmented_copies = 32;
inline constexpr const char* augmented_variant = "augmented";

// Attack seeds that a budget is tried with. Few images differ much from selection to selection, so they get three.
// Which keys have leaked matters too, and to combine keys costs nothing but the evaluation of the outcome.
std::int64_t seeds(const Attack& attack, const Budget& budget, Preset preset);

// What units are weighed by: about how many images a unit sends forward through a network, or what costs as much. A
// step of training costs each image five of them.
double expected_work(const Attack& attack, const Budget& budget, std::int64_t test_samples);

}  // namespace spankey::budgets
