// `spankey attack` as a part of the trials of a sweep.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "base/error.h"
#include "dist/communicator.h"
#include "record/sweep_plan.h"

namespace spankey::cli {

// Throws Error(bad_input), which begins with `place`, for a preset or an attack that does not exist, what is named
// twice, and more attack seeds than there may be.
void require_attack(const SweepAttack& attack, const std::string& place);

// Returns how many images these attacks send through the network of a trial, with so many to train on and to test with.
// Throws Error(bad_input) where the attacker shall have more images than there are to train on.
double attack_images(const SweepAttack& attack, std::int64_t train_samples, std::int64_t test_samples);

// Collective. Does what `spankey attack RUN` with these options does, on the ranks of `communicator`, for so many
// seconds at most (0: as long as it takes).
ExitCode attack_trial(const std::filesystem::path& run, const SweepAttack& attack, double max_seconds,
                      Communicator& communicator);

}  // namespace spankey::cli
