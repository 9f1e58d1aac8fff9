// Watches runs while they train, from their files alone. It changes nothing, so the files may lie on a disk that is
// read-only here.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/lease.h"
#include "record/ledger.h"
#include "record/run_progress.h"
#include "record/sweep_plan.h"
#include "record/sweep_queue.h"

namespace spankey {

// In the order of a table that is sorted by state.
enum class WatchedState {
  running,  // a process that may be alive holds its lease
  failed,   // a trial that is not tried again, or a run whose last words are an error
  stopped,  // it has a checkpoint and would go on from there
  begun,    // it has none yet
  halved,   // a trial that halving leaves where it is
  done,     // it has a result
  waiting   // a trial that nobody runs
};
std::string to_string(WatchedState state);

struct WatchedRun {
  std::string name;  // what is varied in a trial, or the folder of a run
  std::filesystem::path folder;
  WatchedState state = WatchedState::waiting;
  std::string reason;         // of a failure, of halving, or of an end before the last epoch
  std::int64_t attempts = 0;  // of a trial
  std::int64_t epochs = 0;    // that it shall train, 0 where unknown
  RunProgress progress;
  std::optional<double> seconds_left;  // of training, while it runs
};

struct WatchView {
  std::string title;
  std::vector<WatchedRun> runs;
  SweepQueue queue;

  std::int64_t count(WatchedState state) const;
  bool over() const;  // every run is done, has failed, or is left by halving
};

class RunWatch {
 public:
  // `place` is a run directory, the folder of a sweep, or a folder that holds such. Throws Error(bad_input) where it is
  // none of these.
  explicit RunWatch(std::filesystem::path place);

  // Looks at all runs. Throws Error(bad_input) once the place is gone.
  WatchView look();

 private:
  struct Seen {  // what is read again only where its file has changed
    explicit Seen(const std::filesystem::path& run) : metrics(RunDirectory{run}.metrics()) {}
    MetricsReader metrics;
    std::filesystem::file_time_type config_time{};
    std::int64_t epochs = 0, global_batch = 0;
  };
  struct Sweep {
    std::filesystem::file_time_type plan_time{};
    SweepPlan plan;
    std::unique_ptr<Ledger> ledger;  // remembers what it saw of leases
  };

  void add_sweep(const std::filesystem::path& folder, const std::string& prefix, WatchView& view);
  void add_run(const std::filesystem::path& folder, const std::string& name, WatchView& view);
  void read_files(const std::filesystem::path& config, WatchedRun& run);

  std::filesystem::path place_;
  bool found_ = false;
  LeaseObserver leases_;
  std::map<std::filesystem::path, Seen> seen_;
  std::map<std::filesystem::path, Sweep> sweeps_;
  std::chrono::steady_clock::time_point asked_{};
  SweepQueue queue_;
};

}  // namespace spankey
