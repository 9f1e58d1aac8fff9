#include "attack/suite.h"

#include <ATen/ATen.h>

#include <chrono>
#include <fstream>
#include <limits>
#include <thread>
#include <utility>

#include "attack/context.h"
#include "attack/unit_folder.h"
#include "base/file.h"
#include "base/log.h"
#include "base/shutdown.h"
#include "dist/on_all_ranks.h"

namespace spankey {
namespace {

using Clock = std::chrono::steady_clock;
constexpr auto look_every = std::chrono::milliseconds(100);

nlohmann::json to_json(const Cost& cost) {
  return {{"seconds", cost.seconds},   {"forward", cost.forward},
          {"backward", cost.backward}, {"queries", cost.queries},
          {"labels", cost.labels},     {"unlabelled", cost.unlabelled},
          {"leaked", cost.leaked},     {"trained_parameters", cost.trained}};
}

nlohmann::json to_json(const AccessCounts& access) {
  return {
      {"samples", access.samples}, {"correct", access.correct}, {"strip", access.strip}, {"rejected", access.rejected}};
}

struct Left {};  // the work of a unit

// Whether this rank is to leave. A signal to one rank is told to the others by a file, since ranks that work on units
// of their own do not meet.
class StopWatch {
 public:
  // `max_seconds` 0: no limit.
  StopWatch(std::filesystem::path marker, double max_seconds)
      : marker_(std::move(marker)), seconds_(max_seconds > 0 ? max_seconds : std::numeric_limits<double>::infinity()) {}

  bool asked() {
    if (asked_) return true;
    if (shutdown::requested() || std::chrono::duration<double>(Clock::now() - started_).count() >= seconds_) {
      ask_all();
    } else if (Clock::now() - looked_ >= look_every) {
      looked_ = Clock::now();
      asked_ = std::filesystem::exists(marker_);
    }
    return asked_;
  }
  void ask_all() {
    asked_ = true;
    std::ofstream(marker_) << "";  // nothing that has to survive a crash, and several ranks may write it at once
  }

 private:
  std::filesystem::path marker_;
  double seconds_;
  Clock::time_point started_ = Clock::now(), looked_{};
  bool asked_ = false;
};

// Units that some rank still has to do, as rank 0 finds them: folders on a network have caches.
std::vector<bool> missing_units(const AttackPlan& plan, const UnitFolder& folder, bool again,
                                Communicator& communicator) {
  auto missing = at::ones({static_cast<std::int64_t>(plan.units.size())}, at::kLong);
  on_all_ranks(communicator, [&] {
    if (communicator.rank() != 0) return;
    folder.prepare();
    for (std::size_t i = 0; i < plan.units.size(); ++i) {
      if (!again && folder.read(plan.units[i]))
        missing[static_cast<std::int64_t>(i)] = 0;
      else
        std::filesystem::remove(folder.path(plan.units[i]));
    }
  });
  if (!plan.units.empty()) communicator.broadcast(missing, 0);
  const auto* values = missing.const_data_ptr<std::int64_t>();
  return std::vector<bool>(values, values + plan.units.size());
}

std::vector<Unit> share_of(const std::vector<Unit>& units, int rank, int ranks) {
  const auto rank_of = assign(units, ranks);
  std::vector<Unit> mine;
  for (std::size_t i = 0; i < units.size(); ++i)
    if (rank_of[i] == rank) mine.push_back(units[i]);
  return mine;
}

void work_through(const AttackedRun& run, const std::vector<Unit>& mine, const UnitFolder& folder, StopWatch& stop,
                  const SuiteOptions& options) {
  double all = 0.0, done = 0.0;
  for (const auto& unit : mine) all += unit.work;
  const auto leave_if_asked = [&] {
    if (stop.asked()) throw Left();
    if (options.lease) options.lease->check();
  };
  try {
    for (const auto& unit : mine) {
      leave_if_asked();
      if (options.progress) options.progress(done / all);
      folder.write(unit, run_unit(run, unit, leave_if_asked));
      done += unit.work;
    }
    if (options.progress && !mine.empty()) options.progress(1.0);
  } catch (const Left&) {
  } catch (...) {
    stop.ask_all();  // the others are not to work on for nothing
    throw;
  }
}

// A rank that has nothing left to do looks for the files of the others: a collective would time out.
void wait_for_others(const std::vector<Unit>& units, const UnitFolder& folder, StopWatch& stop) {
  for (const auto& unit : units)
    while (!std::filesystem::exists(folder.path(unit)) && !stop.asked()) std::this_thread::sleep_for(look_every);
}

}  // namespace

std::unique_ptr<Lease> take_attack_folder(const std::filesystem::path& folder, Communicator& communicator) {
  constexpr std::chrono::seconds patience{3}, silence{35};  // those of a run directory
  std::unique_ptr<Lease> lease;
  on_all_ranks(communicator, [&] {
    if (communicator.rank() != 0) return;
    make_writable_folder(folder);
    lease = std::make_unique<Lease>(folder, patience, silence, LeaseWords{.user = "attack", .option = "--out"});
  });
  return lease;
}

nlohmann::json run_unit(const AttackedRun& run, const Unit& unit, const std::function<void()>& leave_if_asked) {
  AttackContext context(run, *unit.attack, unit.seed, leave_if_asked);
  const auto began = Clock::now();
  Row row;
  nlohmann::json failure;
  try {
    const at::NoGradGuard no_grad;
    row = unit.attack->run(context, unit.budget);
    if (!context.owners_view().is_null()) row.detail["owner"] = context.owners_view();
  } catch (const SearchFailed& failed) {
    row = {};
    failure = failed.what();
  }
  Cost cost = context.cost();
  cost.seconds = std::chrono::duration<double>(Clock::now() - began).count();
  return {{"access", to_json(row.access)},
          {"own_loss", row.own_loss},
          {"cost", to_json(cost)},
          {"detail", row.detail},
          {"failure", failure}};
}

SuiteOutcome run_suite(const AttackedRun& run, const AttackPlan& plan, const std::filesystem::path& folder,
                       Communicator& communicator, const SuiteOptions& options) {
  const UnitFolder units(folder, run);
  communicator.set_place("attack");
  const auto missing = missing_units(plan, units, options.again, communicator);
  std::vector<Unit> left;
  for (std::size_t i = 0; i < plan.units.size(); ++i)
    if (missing[i]) left.push_back(plan.units[i]);
  StopWatch stop(units.stop_marker(), options.max_seconds);
  on_all_ranks(communicator, [&] {
    work_through(run, share_of(left, communicator.rank(), communicator.size()), units, stop, options);
    wait_for_others(left, units, stop);
  });
  // Rank 0 reads for all: its files are there, but another rank's view of the folder may be older.
  SuiteOutcome outcome;
  nlohmann::json found = nlohmann::json::array();
  on_all_ranks(communicator, [&] {
    if (communicator.rank() != 0) return;
    for (const auto& unit : plan.units)
      if (auto one = units.read(unit)) found.push_back(std::move(*one));
  });
  found = nlohmann::json::parse(communicator.broadcast_string(found.dump(), 0));
  outcome.done = found.size();
  outcome.complete = outcome.done == plan.units.size();
  if (outcome.complete) outcome.outcomes = found.get<std::vector<nlohmann::json>>();
  return outcome;
}

}  // namespace spankey
