// Runs the units of a plan on all ranks and puts their outcomes together.
#pragma once

#include <nlohmann/json.hpp>

#include <filesystem>
#include <functional>
#include <memory>
#include <vector>

#include "attack/attacked_run.h"
#include "attack/plan.h"
#include "base/lease.h"
#include "dist/communicator.h"

namespace spankey {

// Runs one unit on this rank. Returns {"access": {"samples", "correct", "strip", "rejected"}, "own_loss", "cost",
// "detail", "failure"}. `failure` is null, or says why the search ended without an outcome, whose counts are then zero.
// "detail" has what the owner sees in the key that was found as "owner", where there is a secret to compare with.
nlohmann::json run_unit(const AttackedRun& run, const Unit& unit, const std::function<void()>& leave_if_asked);

// Collective. Makes the folder of an attack and returns rank 0's lease of it, which keeps a second attack out as long
// as it lives. Other ranks get none. Error(bad_input) names an attack that has it.
std::unique_ptr<Lease> take_attack_folder(const std::filesystem::path& folder, Communicator& communicator);

struct SuiteOptions {
  bool again = false;                                    // units that are on disk are measured anew
  double max_seconds = 0.0;                              // a stop is asked for after so many; 0: never
  std::function<void(double share)> progress = nullptr;  // of this rank's work
  const Lease* lease = nullptr;                          // rank 0's, looked at within the work
};

struct SuiteOutcome {
  bool complete = false;  // false: stopped as asked, by a signal, the file STOP in the folder or max_seconds
  std::size_t done = 0;   // units on disk
  std::vector<nlohmann::json> outcomes;  // of all units of the plan, in its order; empty where not complete
};

// Collective. Every rank returns the same. The figures do not depend on the number of ranks, since each unit is the
// work of one of them.
SuiteOutcome run_suite(const AttackedRun& run, const AttackPlan& plan, const std::filesystem::path& folder,
                       Communicator& communicator, const SuiteOptions& options);

}  // namespace spankey
