// What key init and key rotate make of a trained run.
#pragma once

#include <cstdint>

#include "keyring/challenge.h"
#include "keyring/owner_folder.h"
#include "train/loaded_run.h"

namespace spankey::cli {

struct ChallengeOfRun {
  Challenge challenge;
  double correct_accuracy = 0;  // of valid keys without fingerprints
};

// Samples of the test split, and what valid keys of the run's basis open of them.
ChallengeOfRun make_challenge(const LoadedRun& loaded);

// An owner of the run's basis with a master secret and a signing key of its own.
Owner owner_of_run(const LoadedRun& loaded, double correct_accuracy, double phi, std::int64_t now);

// Writes model.skm, signed by `owner`, and the challenge.
void write_public_files(const OwnerPaths& paths, const LoadedRun& loaded, const Owner& owner,
                        const Challenge& challenge);

}  // namespace spankey::cli
