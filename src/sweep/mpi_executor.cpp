#include "sweep/mpi_executor.h"

#include <ATen/ATen.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <functional>
#include <optional>
#include <thread>

#include "base/descriptor.h"
#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "base/shutdown.h"
#include "dist/on_all_ranks.h"
#include "sweep/attempt.h"
#include "sweep/store_fault.h"
#include "sweep/sweep_progress.h"
#include "sweep/trial_queue.h"
#include "train/trainer.h"

namespace spankey {
namespace {

using Clock = std::chrono::steady_clock;

// Interval at which requests to stop by signal are checked. The file that asks for a stop is checked less often.
constexpr std::chrono::milliseconds listen_again{200}, look_at_marker{5000};

// Orders of the first rank of a group to the others that are not the index of a trial.
constexpr std::int64_t order_wait = -1, order_end = -2;

// Standard output and error of this process go to a file as long as the object lives.
class OutputInFile {
 public:
  explicit OutputInFile(const std::filesystem::path& path) {
    const Descriptor file(open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
    if (!file.valid()) fail_system(errno, "{} cannot be written", path.string());
    std::fflush(nullptr);
    output_ = Descriptor(fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 0));
    error_ = Descriptor(fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0));
    dup2(file.get(), STDOUT_FILENO);
    dup2(file.get(), STDERR_FILENO);
  }
  ~OutputInFile() {
    log::flush();
    std::fflush(nullptr);
    dup2(output_.get(), STDOUT_FILENO);
    dup2(error_.get(), STDERR_FILENO);
  }
  OutputInFile(const OutputInFile&) = delete;
  OutputInFile& operator=(const OutputInFile&) = delete;

 private:
  Descriptor output_, error_;
};

class TrialGroup {
 public:
  // `states`: of the trials, on every rank.
  TrialGroup(const SweepPlan& plan, Ledger& ledger, const MpiOptions& options, const std::vector<TrialState>& states,
             Communicator& world)
      : plan_(plan),
        ledger_(ledger),
        options_(options),
        shows_progress_(world.rank() == 0),
        groups_(world.size() / options.ranks_per_trial),
        group_(world.split(world.rank() / options.ranks_per_trial, world.rank())) {
    const auto own = static_cast<std::size_t>(world.rank() / options.ranks_per_trial);
    if (leads()) queue_.emplace(plan, ledger, WorkerShare{own, static_cast<std::size_t>(groups_)}, states);
  }

  ExitCode run() {
    for (auto order = next_order(); order.what != order_end; order = next_order()) {
      if (order.what == order_wait) {
        std::this_thread::sleep_for(listen_again);
      } else {
        run_trial(plan_.trials[static_cast<std::size_t>(order.what)], order.pause_epochs);
      }
    }
    if (shows_progress_) progress_.summary(*queue_);
    if (stopping_) return ExitCode::requeue;
    return queue_ && queue_->failed() > 0 ? ExitCode::run_failed : ExitCode::done;
  }

 private:
  // The index of a trial with the epochs after which it pauses, order_wait or order_end.
  struct Order {
    std::int64_t what = order_end, pause_epochs = 0;
  };

  bool leads() const { return group_->rank() == 0; }

  double hours() const { return std::chrono::duration<double, std::ratio<3600>>(Clock::now() - started_).count(); }

  // Collective. The first rank sends an order several times a second, so that no other rank waits long in vain.
  Order next_order() {
    auto stop = at::full({1}, shutdown::requested() ? 1 : 0, at::kLong);
    group_->all_reduce(stop, ReduceOp::max);
    auto order = at::tensor({order_end, std::int64_t{0}}, at::kLong);
    if (leads()) {
      order[0] = decide(stop.item<std::int64_t>() != 0);
      if (taken_) order[1] = taken_->pause_epochs;
    }
    group_->broadcast(order, 0);
    return {order[0].item<std::int64_t>(), order[1].item<std::int64_t>()};
  }

  // On the first rank. An Error ends the job, so the others of the group need not agree on it.
  std::int64_t decide(bool stop) {
    stopping_ = stop || (plan_.max_hours > 0 && hours() >= plan_.max_hours) || cancelled();
    if (stopping_) return order_end;
    if (pauses_.pausing()) return order_wait;
    try {
      taken_ = queue_->next();
      for (const auto& line : queue_->take_decisions()) progress_.note(line);
    } catch (const Error& error) {
      pauses_.met(error.what());
      return order_wait;
    }
    if (!taken_) return queue_->left() == 0 ? order_end : order_wait;
    return taken_->trial - plan_.trials.data();
  }

  bool cancelled() {
    if (Clock::now() - looked_for_cancel_ >= look_at_marker) {
      looked_for_cancel_ = Clock::now();
      cancelled_ = is_cancelled(options_.directory);
    }
    return cancelled_;
  }

  void run_trial(const PlannedTrial& trial, std::int64_t pause_epochs) {
    auto config = trial_config(plan_, trial);
    const auto started = Clock::now();
    int code = 0;
    {
      std::optional<OutputInFile> output;
      try {
        on_all_ranks(*group_, [&] {
          if (leads()) begin(trial, config);
        });
        on_all_ranks(*group_, [&] { output.emplace(ledger_.output_log(trial.id)); });
      } catch (const AgreedError& error) {
        output.reset();
        return let_go(trial, error.what());
      }
      code = train_and_attack(trial, config, pause_epochs);
    }
    group_->set_place("between trials");
    group_->barrier();  // every rank has written its last line
    const std::chrono::duration<double> seconds = Clock::now() - started;
    if (leads()) end(trial, code, seconds.count());
    looked_for_cancel_ = {};
  }

  void begin(const PlannedTrial& trial, const Config& config) {
    auto entry = taken_->claim.entry();
    ++entry.attempts;
    if (!taken_->claim.write(entry)) fail_run("trial {}: another worker has taken it over", trial.id);
    make_writable_folder(ledger_.output_log(trial.id).parent_path());
    write_durably(ledger_.config_file(trial.id), to_toml(config));
    link_trial(plan_, options_.directory, trial.id);
    if (shows_progress_) progress_.show(*queue_, std::min<int>(groups_, static_cast<int>(queue_->left())));
  }

  // A fault on one rank of the group is not a failure of the other ranks or of the trial.
  void let_go(const PlannedTrial& trial, const std::string& mine) {
    if (!leads()) {
      if (!mine.empty()) log::warning("trial {}: {}", trial.id, mine);
      return;
    }
    taken_.reset();
    queue_->give_back(trial, /*behind=*/true);
    pauses_.met(fmt::format("trial {}: {}", trial.id, mine.empty() ? "another rank of its group cannot begin" : mine));
  }

  double seconds_left() const { return plan_.max_hours > 0 ? std::max(1.0, (plan_.max_hours - hours()) * 3600) : 0.0; }

  // Exit code of the attempt.
  int train_and_attack(const PlannedTrial& trial, Config config, std::int64_t pause_epochs) {
    const auto run = ledger_.run_directory(trial.id).root;
    log::start(group_->rank(), group_->size());  // without the log files of the trial before
    if (plan_.max_hours > 0) config.train.max_seconds = seconds_left();
    const auto code = code_of([&] {
      return train({.config = config,
                    .config_file = ledger_.config_file(trial.id),
                    .run_directory = run,
                    .pause_epochs = pause_epochs},
                   *group_);
    });
    const bool attacks_at_rungs = plan_.halving && parse_objective(plan_.halving->metric, "halving").uses_attack();
    if (pause_epochs > 0 && !attacks_at_rungs) return code;
    if (code != static_cast<int>(ExitCode::done) || trial.attack.empty()) return code;
    return code_of([&] { return options_.attack(run, seconds_left(), *group_); });
  }

  // Errors that the ranks do not share leave the group in disorder and go up.
  int code_of(const std::function<ExitCode()>& work) {
    try {
      return static_cast<int>(work());
    } catch (const AgreedError& error) {
      if (*error.what() != '\0') log::error("{}", error.what());
      return static_cast<int>(error.code());
    } catch (const Error& error) {
      if (group_->size() > 1) throw;
      log::error("{}", error.what());
      return static_cast<int>(error.code());
    } catch (const std::exception& error) {
      if (group_->size() > 1) throw;
      const std::string_view text = error.what();  // of LibTorch with a list of frames behind the first line
      log::error("{}", text.substr(0, text.find('\n')));
      return static_cast<int>(ExitCode::run_failed);
    }
  }

  void end(const PlannedTrial& trial, int code, double seconds) {
    auto claim = std::move(taken_->claim);
    const auto pause_epochs = taken_->pause_epochs;
    taken_.reset();
    std::string fault;
    try {
      const AttemptEnd end{.exit_code = code, .seconds = seconds, .pause_epochs = pause_epochs};
      auto entry = outcome_of_attempt(ledger_, trial, claim.entry(), end);
      measure_at_rung(*queue_, trial, end, entry);
      const auto faultless = without_machine_fault(plan_.store, claim.entry(), entry);
      if (faultless) entry = *faultless;
      queue_->give_back(trial, /*behind=*/faultless.has_value());
      const bool ours = claim.write(entry);
      if (entry.state == TrialState::done) pauses_.over();
      if (!faultless && ours) progress_.ended(trial, entry, seconds, ledger_.output_log(trial.id));
      if (!faultless && !ours)
        log::warning("trial {}: another worker has taken it over; its outcome here is not recorded", trial.id);
      if (!faultless) return;
      fault = entry.reason;
    } catch (const Error& error) {
      // The ledger still has the entry written at the start. The trial reads as waiting, or as done where its result
      // exists.
      queue_->give_back(trial, /*behind=*/true);
      fault = fmt::format("its outcome cannot be recorded: {}", error.what());
    }
    pauses_.met(fmt::format("trial {}: {}", trial.id, fault));
  }

  const SweepPlan& plan_;
  Ledger& ledger_;
  const MpiOptions& options_;
  const bool shows_progress_;
  const int groups_;
  std::unique_ptr<Communicator> group_;
  // Only the first rank of a group uses these.
  std::optional<TrialQueue> queue_;
  std::optional<TakenTrial> taken_;
  StorePauses pauses_;
  SweepProgress progress_{/*redraw=*/false};
  bool stopping_ = false, cancelled_ = false;
  Clock::time_point started_ = Clock::now(), looked_for_cancel_;
};

// The states of all trials, read once for all ranks. Collective.
std::vector<TrialState> shared_states(const SweepPlan& plan, const Ledger& ledger, Communicator& world) {
  std::vector<std::byte> bytes;
  on_all_ranks(world, [&] {
    if (world.rank() != 0) return;
    for (const auto state : ledger.read_states(plan)) bytes.push_back(static_cast<std::byte>(state));
  });
  std::vector<TrialState> states;
  for (const auto byte : world.broadcast_bytes(bytes, 0)) states.push_back(static_cast<TrialState>(byte));
  return states;
}

}  // namespace

ExitCode run_mpi(const SweepPlan& plan, Ledger& ledger, const MpiOptions& options, Communicator& world) {
  if (options.ranks_per_trial < 1 || world.size() % options.ranks_per_trial != 0)
    throw AgreedError(ExitCode::bad_input,
                      world.rank() == 0 ? fmt::format("--ranks-per-trial = {}: accepted: a number that divides the {} "
                                                      "ranks of this job, so that none is idle",
                                                      options.ranks_per_trial, world.size())
                                        : std::string());
  auto code = at::full({1}, 0, at::kLong);
  const auto states = shared_states(plan, ledger, world);
  code.fill_(static_cast<std::int64_t>(TrialGroup(plan, ledger, options, states, world).run()));
  // One exit code for the job; the largest says most: stopped (75), failed trials (3), done (0).
  world.all_reduce(code, ReduceOp::max);
  return static_cast<ExitCode>(code.item<std::int64_t>());
}

}  // namespace spankey
