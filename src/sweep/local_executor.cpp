#include "sweep/local_executor.h"

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <memory>
#include <optional>
#include <thread>

#include "base/file.h"
#include "base/launch.h"
#include "base/log.h"
#include "base/process.h"
#include "base/shutdown.h"
#include "sweep/attempt.h"
#include "sweep/child_process.h"
#include "sweep/store_fault.h"
#include "sweep/sweep_progress.h"
#include "sweep/trial_queue.h"

namespace spankey {
namespace {

using Clock = std::chrono::steady_clock;

// Short trials are noticed within milliseconds, long ones cost next to nothing to watch.
constexpr std::chrono::milliseconds shortest_nap{5}, longest_nap{100};
constexpr std::chrono::milliseconds look_for_cancel{300}, with_nothing_to_do{500}, one_request{1000};

// Elements of a Slurm array begin together; each is a worker.
WorkerShare share_of_array() {
  const char* element = std::getenv("SLURM_ARRAY_TASK_ID");
  const char* elements = std::getenv("SLURM_ARRAY_TASK_COUNT");
  const auto of = element && elements ? std::atoll(elements) : 0;
  if (of < 1) return {};
  return {.index = static_cast<std::size_t>(std::max(0LL, std::atoll(element)) % of),
          .of = static_cast<std::size_t>(of)};
}

class LocalWorker {
 public:
  LocalWorker(const SweepPlan& plan, Ledger& ledger, const TrialCommand& command, const LocalOptions& options)
      : plan_(plan),
        ledger_(ledger),
        command_(command),
        options_(options),
        queue_(plan, ledger, share_of_array()),
        slots_(make_slots(options.jobs, options.ranks_per_trial)),
        running_(slots_.size()) {}

  ExitCode run() {
    while (true) {
      reap();
      look_for_stop();
      if (!stopping_ && !gives_up_ && !pauses_.pausing()) fill();
      if (running() == 0 && (stopping_ || gives_up_ || nothing_to_wait_for())) break;
      std::this_thread::sleep_for(nap());
    }
    progress_.summary(queue_);
    if (gives_up_) throw Error(*gives_up_);
    if (stopping_) return ExitCode::requeue;
    return queue_.failed() > 0 ? ExitCode::run_failed : ExitCode::done;
  }

 private:
  struct Running {
    TakenTrial taken;
    std::unique_ptr<ChildProcess> process;
    Clock::time_point started;
    bool attacked = false;  // the process is its attack, or that has ended
  };

  int running() const {
    return static_cast<int>(
        std::count_if(running_.begin(), running_.end(), [](const auto& r) { return r != nullptr; }));
  }

  bool nothing_to_wait_for() const {
    return queue_.left() == 0 || (!options_.wait_for_others && !claimable_ && !pauses_.pausing());
  }

  std::chrono::milliseconds nap() const {
    if (running() == 0) return with_nothing_to_do;
    auto youngest = Clock::duration::max();
    for (const auto& trial : running_)
      if (trial) youngest = std::min(youngest, Clock::now() - trial->started);
    return std::clamp(std::chrono::duration_cast<std::chrono::milliseconds>(youngest / 20), shortest_nap, longest_nap);
  }

  void fill() {
    for (std::size_t slot = 0; slot < running_.size(); ++slot) {
      if (running_[slot]) continue;
      try {
        auto taken = queue_.next();
        for (const auto& line : queue_.take_decisions()) progress_.note(line);
        claimable_ = taken.has_value();
        if (!taken) return;
        start(slot, std::move(*taken));
      } catch (const Error& error) {
        return pause(error.what());
      }
    }
  }

  // Throws an Error where the files of the trial cannot be written. The trial then stays waiting.
  void start(std::size_t slot, TakenTrial taken) {
    const auto& planned = *taken.trial;
    auto entry = taken.claim.entry();
    ++entry.attempts;
    if (!taken.claim.write(entry)) return;
    link_trial(plan_, options_.directory, planned.id);
    auto words = command_(planned);
    if (taken.pause_epochs > 0) words.insert(words.end(), {"--pause-after-epochs", std::to_string(taken.pause_epochs)});
    auto process = start_process(slot, planned, std::move(words));
    running_[slot] = std::make_unique<Running>(Running{std::move(taken), std::move(process), Clock::now()});
    progress_.show(queue_, running());
  }

  std::unique_ptr<ChildProcess> start_process(std::size_t slot, const PlannedTrial& planned,
                                              std::vector<std::string> command) const {
    return std::make_unique<ChildProcess>(ChildOptions{.command = std::move(command),
                                                       .log = ledger_.output_log(planned.id),
                                                       .slot = slots_[slot],
                                                       .ranks = options_.ranks_per_trial,
                                                       .nice = options_.nice});
  }

  // The exit code of the attempt. nullopt where it goes on: after the training comes the attack.
  std::optional<int> end_of_stage(std::size_t slot, Running& trial, int exit_code) {
    const auto& planned = *trial.taken.trial;
    if (exit_code != static_cast<int>(ExitCode::done) || trial.attacked || planned.attack.empty()) return exit_code;
    if (trial.taken.pause_epochs > 0 && !queue_.attacks_at_rungs()) return exit_code;
    if (stopping_ || shutdown::requested()) return static_cast<int>(ExitCode::requeue);
    try {
      trial.process = start_process(slot, planned, options_.attack(planned));
      trial.attacked = true;
      return std::nullopt;
    } catch (const Error& error) {
      pause(fmt::format("trial {}: {}", planned.id, error.what()));
      return static_cast<int>(ExitCode::requeue);
    }
  }

  void pause(const std::string& reason) {
    try {
      claimable_ = true;  // unknown until the next poll
      pauses_.met(reason);
    } catch (const Error& error) {
      gives_up_ = error;
    }
  }

  void reap() {
    for (std::size_t slot = 0; slot < running_.size(); ++slot) {
      auto& trial = running_[slot];
      if (!trial) continue;
      auto code = trial->process->poll();
      if (code) code = end_of_stage(slot, *trial, *code);
      if (!code) continue;
      end_attempt(*trial, *code);
      trial.reset();
    }
  }

  void end_attempt(Running& trial, int exit_code) {
    const auto& planned = *trial.taken.trial;
    const std::chrono::duration<double> seconds = Clock::now() - trial.started;
    // A signal to worker and trial alike may end the trial before the worker has seen it.
    const bool stopped = stopping_ || shutdown::requested();
    try {
      const auto& before = trial.taken.claim.entry();
      const AttemptEnd end{.exit_code = exit_code,
                           .seconds = seconds.count(),
                           .stopped = stopped,
                           .pause_epochs = trial.taken.pause_epochs};
      auto entry = outcome_of_attempt(ledger_, planned, before, end);
      measure_at_rung(queue_, planned, end, entry);
      const auto faultless = without_machine_fault(plan_.store, before, entry);
      if (faultless) entry = *faultless;
      queue_.give_back(planned, /*behind=*/faultless.has_value());
      const bool ours = trial.taken.claim.write(entry);
      if (faultless) return pause(fmt::format("trial {}: {}", planned.id, entry.reason));
      if (entry.state == TrialState::done) pauses_.over();
      if (ours)
        progress_.ended(planned, entry, seconds.count(), ledger_.output_log(planned.id));
      else
        log::warning("trial {}: another worker has taken it over; its outcome here is not recorded", planned.id);
    } catch (const Error& error) {
      // The ledger still has the entry written at the start. The trial reads as waiting, or as done where its result
      // exists.
      queue_.give_back(planned, /*behind=*/true);
      pause(fmt::format("trial {}: its outcome cannot be recorded: {}", planned.id, error.what()));
    }
  }

  void look_for_stop() {
    const auto now = Clock::now();
    if (now - looked_for_cancel_ >= look_for_cancel) {
      looked_for_cancel_ = now;
      cancelled_ = is_cancelled(options_.directory);
    }
    const std::chrono::duration<double, std::ratio<3600>> hours = now - started_;
    const bool out_of_time = plan_.max_hours > 0 && hours.count() >= plan_.max_hours;
    if (shutdown::requested()) {
      shutdown::clear();
      // Slurm may signal both this process and the batch script, which forwards the signal. That counts as one request.
      if (stopping_ && now - asked_ < one_request) return;
      if (stopping_)
        signal_trials(SIGKILL, "ending the trials at once", "go on from their newest checkpoints when resumed");
      else
        ask_to_stop("stopping");
    } else if (!stopping_ && (cancelled_ || out_of_time)) {
      ask_to_stop(cancelled_ ? "cancelled" : "the hours of the budget are over");
    }
  }

  void ask_to_stop(const char* why) {
    stopping_ = true;
    signal_trials(SIGUSR2, why, "are asked for a checkpoint");
  }

  void signal_trials(int signal, const char* why, const char* what_follows) {
    asked_ = Clock::now();
    progress_.note(fmt::format("{}: {} running trials {}", why, running(), what_follows));
    for (auto& trial : running_)
      if (trial) trial->process->signal(signal);
  }

  const SweepPlan& plan_;
  Ledger& ledger_;
  const TrialCommand& command_;
  const LocalOptions& options_;
  TrialQueue queue_;
  std::vector<Slot> slots_;
  std::vector<std::unique_ptr<Running>> running_;  // by slot
  SweepProgress progress_;
  StorePauses pauses_;
  std::optional<Error> gives_up_;
  bool stopping_ = false, cancelled_ = false, claimable_ = true;
  Clock::time_point started_ = Clock::now(), looked_for_cancel_, asked_;
};

// This program with other words, on so many ranks.
std::vector<std::string> spankey_command(int ranks, const std::vector<std::string>& words) {
  std::vector<std::string> command;
  if (ranks > 1) {
    command = mpirun_words(mpirun_here(), ranks);
    allow_more_ranks_than_cores();
  }
  // The running image stays the same when the program is rebuilt. mpirun needs a path.
  command.push_back(ranks > 1 ? program_path().string() : "/proc/self/exe");
  command.insert(command.end(), words.begin(), words.end());
  return command;
}

}  // namespace

TrialCommand train_command(const SweepPlan& plan, const Ledger& ledger, int ranks) {
  return [&plan, &ledger, ranks](const PlannedTrial& trial) {
    const auto config = ledger.config_file(trial.id);
    write_durably(config, to_toml(trial_config(plan, trial)));
    return spankey_command(ranks,
                           {"train", config.string(), "--run-dir", ledger.run_directory(trial.id).root.string()});
  };
}

TrialCommand attack_command(const SweepPlan& plan, const Ledger& ledger, int ranks) {
  return [&plan, &ledger, ranks](const PlannedTrial& trial) {
    std::vector<std::string> words{"attack", ledger.run_directory(trial.id).root.string()};
    const auto options = options_of(plan.attack.value());
    words.insert(words.end(), options.begin(), options.end());
    return spankey_command(ranks, words);
  };
}

ExitCode run_local(const SweepPlan& plan, Ledger& ledger, const TrialCommand& command, const LocalOptions& options) {
  return LocalWorker(plan, ledger, command, options).run();
}

}  // namespace spankey
