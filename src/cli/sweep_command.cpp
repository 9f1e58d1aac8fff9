#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <iterator>
#include <memory>
#include <string_view>
#include <utility>

#include "base/file.h"
#include "base/shutdown.h"
#include "base/standard_streams.h"
#include "cli/attack_trial.h"
#include "cli/command.h"
#include "cli/number_option.h"
#include "cli/sweep_status.h"
#include "dist/backend.h"
#include "dist/on_all_ranks.h"
#include "record/attack_record.h"
#include "sweep/ask_tell.h"
#include "sweep/attempt.h"
#include "sweep/choices.h"
#include "sweep/job_end.h"
#include "sweep/local_executor.h"
#include "sweep/mpi_executor.h"
#include "sweep/slurm_executor.h"
#include "sweep/sweep.h"
#include "train/access_report.h"

namespace spankey::cli {
namespace {

struct SweepArguments {
  std::string file;
  std::vector<std::string> overrides;
  std::string directory;
  std::string json_file, metric;
  std::string executor = "auto", sbatch;
  std::vector<std::string> sbatch_options;  // what follows "--"
  bool json = false, yes = false, retry_failed = false;
  int jobs = 1, ranks_per_trial = 1, nice = 0, max_running = 0;
};

std::filesystem::path directory_of(const SweepArguments& arguments) {
  return sweep_directory(arguments.file, arguments.directory);
}

SweepFile sweep_file_of(const SweepArguments& arguments) {
  auto file = load_sweep_file(arguments.file);
  apply_choices(file, arguments.overrides);
  return file;
}

SweepPlan planned(const SweepArguments& arguments) {
  const auto file = sweep_file_of(arguments);
  if (file.attack) require_attack(*file.attack, file.attack_place);
  return make_plan(
      file, {.directory = directory_of(arguments), .many_trials = arguments.yes, .attack_images = attack_images});
}

// Plans the sweep and prepares D for workers. It writes the plan and, if asked, makes failed trials waiting again.
// Without a file it is the plan that D holds.
SweepPlan prepare(const SweepArguments& arguments, RetryFailed retry) {
  const auto directory = directory_of(arguments);
  auto plan = arguments.file.empty() ? load_plan(directory) : planned(arguments);
  if (!arguments.file.empty()) save_plan(plan, directory);
  std::error_code error;
  std::filesystem::remove(cancel_marker(directory), error);
  if (error) fail_system(error, "cannot remove {}", cancel_marker(directory).string());
  Ledger ledger(plan.store);
  const auto reopened = reopen_failed(plan, ledger, arguments.retry_failed ? RetryFailed::all : retry);
  if (standard_streams::are_quiet()) return plan;
  if (reopened > 0) fmt::print("{} failed {} tried again\n", reopened, reopened == 1 ? "trial is" : "trials are");
  fmt::print("{}", merged_text(plan));
  const auto counts = count_trials(plan, ledger);
  fmt::print("{}: {} trials, {} done before, {} failed before; in {}\n", plan.name, counts.trials, counts.done,
             counts.failed, plan.store.string());
  for (const auto& note : plan.notes) fmt::print("note: {}\n", note);
  fmt::print("{}{}", halving_text(plan), attack_text(plan));
  return plan;
}

ExitCode work_locally(const SweepArguments& arguments, const SweepPlan& plan, bool wait_for_others) {
  Ledger ledger(plan.store);
  shutdown::install_handlers();
  share_job_end();
  return run_local(plan, ledger, train_command(plan, ledger, arguments.ranks_per_trial),
                   {.directory = directory_of(arguments),
                    .jobs = arguments.jobs,
                    .ranks_per_trial = arguments.ranks_per_trial,
                    .nice = arguments.nice,
                    .attack = attack_command(plan, ledger, arguments.ranks_per_trial),
                    .wait_for_others = wait_for_others});
}

// The value from the base and [set]. No axis may vary it.
DistConfig communication_of(const SweepArguments& arguments) {
  DistConfig config;
  if (arguments.file.empty()) {
    const auto plan = load_plan(directory_of(arguments));
    config.timeout_seconds = trial_config(plan, plan.trials.front()).dist.timeout_seconds;
    return config;
  }
  const auto file = sweep_file_of(arguments);
  std::vector<std::string> overrides;
  for (const auto& [key, value] : file.grid.fixed)
    if (key == "dist.timeout_seconds") overrides.push_back(key + "=" + value);
  config.timeout_seconds = load_config(file.base, overrides).dist.timeout_seconds;
  return config;
}

ExitCode run_in_mpi(const SweepArguments& arguments, RetryFailed retry) {
  return with_communicator(communication_of(arguments), [&](Communicator& world) {
    std::string text;
    on_all_ranks(world, [&] {
      if (world.rank() == 0) text = plan_json(prepare(arguments, retry));
    });
    auto plan = parse_plan(world.broadcast_string(text, 0), "plan sent by rank 0");
    plan.directory = directory_of(arguments);
    Ledger ledger(plan.store);
    share_job_end(world);
    const auto attack = [&](const std::filesystem::path& run, double max_seconds, Communicator& group) {
      return attack_trial(run, plan.attack.value(), max_seconds, group);
    };
    return run_mpi(
        plan, ledger,
        {.directory = directory_of(arguments), .ranks_per_trial = arguments.ranks_per_trial, .attack = attack}, world);
  });
}

ExitCode run_in_slurm(const SweepArguments& arguments, RetryFailed retry) {
  const auto plan = prepare(arguments, retry);
  const auto waiting = count_trials(plan, Ledger(plan.store)).waiting;
  const auto ids = submit_to_slurm(plan, waiting,
                                   {.directory = directory_of(arguments),
                                    .script = arguments.sbatch,
                                    .ranks_per_trial = arguments.ranks_per_trial,
                                    .nice = arguments.nice,
                                    .max_running = arguments.max_running,
                                    .sbatch = arguments.sbatch_options});
  const auto submitted = ids.empty()
                             ? std::string("nothing is submitted")
                             : fmt::format("submitted as job array{} with the id{} {}", ids.size() == 1 ? "" : "s",
                                           ids.size() == 1 ? "" : "s", fmt::join(ids, ", "));
  fmt::print("{} waiting trial{}, {}; `spankey sweep status --dir {}` shows their progress\n", waiting,
             waiting == 1 ? "" : "s", submitted, directory_of(arguments).string());
  return ExitCode::done;
}

// What follows "--" and begins with a dash stands among the overrides, or in place of a sweep file that is not there.
void take_options_of_sbatch(SweepArguments& arguments) {
  auto& words = arguments.overrides;
  if (arguments.file.starts_with('-')) words.insert(words.begin(), std::exchange(arguments.file, {}));
  const auto first = std::find_if(words.begin(), words.end(), [](const auto& word) { return word.starts_with('-'); });
  auto& options = arguments.sbatch_options;
  options.assign(first, words.end());
  words.erase(first, words.end());
  if (!options.empty() && arguments.executor != "slurm")
    fail_input("-- {}: options of sbatch; accepted: with --executor slurm", fmt::join(options, " "));
}

ExitCode run_sweep(SweepArguments arguments, RetryFailed retry) {
  take_options_of_sbatch(arguments);
  const auto variable = [](const char* name) -> const char* { return std::getenv(name); };
  const bool under_mpirun = resolve_backend(Backend::auto_, variable) == Backend::mpi;
  if (arguments.executor == "mpi" || (arguments.executor == "auto" && under_mpirun))
    return run_in_mpi(arguments, retry);
  if (under_mpirun)
    fail_input("--executor {0}: started by mpirun; accepted: mpi, or {0} without mpirun", arguments.executor);
  if (arguments.executor == "slurm") return run_in_slurm(arguments, retry);
  return work_locally(arguments, prepare(arguments, retry), /*wait_for_others=*/true);
}

ExitCode show_plan(const SweepArguments& arguments) {
  const auto plan = planned(arguments);
  fmt::print("{}", plan_text(plan, Ledger(plan.store), arguments.json));
  return ExitCode::done;
}

ExitCode cancel(const SweepArguments& arguments) {
  const auto directory = directory_of(arguments);
  const auto plan = load_plan(directory);
  const auto running = cancel_sweep(plan, Ledger(plan.store), directory);
  cancel_in_slurm(directory);
  fmt::print("{} running trials are asked for a checkpoint; `spankey sweep resume` goes on\n", running);
  return ExitCode::done;
}

ExitCode ask(const SweepArguments& arguments) {
  const auto file = sweep_file_of(arguments);
  if (file.attack) require_attack(*file.attack, file.attack_place);
  std::string wishes;
  if (arguments.json_file == "-")
    wishes.assign(std::istreambuf_iterator<char>(std::cin), {});
  else
    wishes = read_text(arguments.json_file);
  fmt::print("{}", ask_for_trials(file, {.directory = directory_of(arguments)}, wishes,
                                  arguments.json_file == "-" ? "standard input" : arguments.json_file));
  return ExitCode::done;
}

void require_metric_of_some_trial(const SweepPlan& plan, const Objective& objective) {
  const auto attacks = example_attack_summary();
  const auto sample = [&](const PlannedTrial& trial) { return sample_evaluation(trial_config(plan, trial)); };
  const auto has_it = [&](const PlannedTrial& trial) {
    return value_of(objective, sample(trial), attacks).has_value();
  };
  if (std::none_of(plan.trials.begin(), plan.trials.end(), has_it))
    require_known(objective, sample(plan.trials.front()), attacks, "--metric");
}

ExitCode tell(const SweepArguments& arguments) {
  const auto plan = load_plan(directory_of(arguments));
  auto metric = arguments.metric;
  if (metric.empty()) metric = plan.halving ? plan.halving->metric : "correct_key.accuracy";
  const auto objective = parse_objective(metric, "--metric");
  require_metric_of_some_trial(plan, objective);
  const auto told = tell_of_trials(plan, Ledger(plan.store), objective);
  if (arguments.json_file == "-")
    fmt::print("{}", told);
  else
    write_durably(arguments.json_file, told);
  return ExitCode::done;
}

using Step = ExitCode (*)(const SweepArguments&);

struct StepEntry {
  const char* name;
  const char* help;
  Step step;
  bool needs_file;  // otherwise --dir is enough
};

constexpr std::array steps{
    StepEntry{"plan", "Print the trials and their estimated cost; runs nothing", show_plan, true},
    StepEntry{"run", "Run the trials that are not done",
              [](const SweepArguments& a) { return run_sweep(a, RetryFailed::none); }, true},
    StepEntry{"resume",
              "Go on after a kill: like run, and trials that a signal ended are tried again; without SWEEP by the plan "
              "in --dir",
              [](const SweepArguments& a) { return run_sweep(a, RetryFailed::crashed); }, false},
    StepEntry{"cancel", "Ask all workers to stop with checkpoints", cancel, false},
    StepEntry{"work", "Work on a sweep that `run` has started until no trial is free",
              [](const SweepArguments& a) { return work_locally(a, load_plan(directory_of(a)), false); }, false},
    StepEntry{"ask", "Add the trials that an optimiser outside of this program asks for; `resume` runs them", ask,
              true},
    StepEntry{"tell", "Tell in JSON what the trials have come to", tell, false},
};

void add_options(CLI::App& command, const std::string& name, SweepArguments& arguments) {
  command.add_option("--dir", arguments.directory, sweep_directory_help);
  const bool starts = name == "run" || name == "resume";
  if (starts || name == "plan")
    command.add_option("OVERRIDES", arguments.overrides,
                       "key=value for all trials in place of what SWEEP says; key=value,value makes an axis");
  if (name == "ask")
    command
        .add_option("--json", arguments.json_file, "file with {\"key\": value} or a list of such; -: standard input")
        ->required();
  if (name == "tell") {
    command.add_option("--json", arguments.json_file, "file to write; -: standard output")->default_val("-");
    command
        .add_option("--metric", arguments.metric,
                    "the value of a trial, such as \"correct_key.accuracy - wrong_key.accuracy.max\"; default: "
                    "that of [halving], or correct_key.accuracy")
        ->default_str("");
  }
  if (name == "plan") command.add_flag("--json", arguments.json, "print JSON");
  if (starts || name == "plan") command.add_flag("--yes", arguments.yes, "allow more than 100,000 trials");
  if (starts || name == "work") {
    command.add_option("--jobs", arguments.jobs, "local: trials that run at the same time")
        ->transform(integer_between(1, 4096));
    command.add_option("--ranks-per-trial", arguments.ranks_per_trial, "ranks of each trial")
        ->transform(integer_between(1, 4096));
    command.add_option("--nice", arguments.nice, "niceness of the trials")->transform(integer_between(0, 19));
  }
  if (!starts) return;
  command.add_option("--executor", arguments.executor, "auto: mpi under mpirun, local otherwise")
      ->check(CLI::IsMember({"auto", "local", "mpi", "slurm"}));
  command
      .add_option("--max-running", arguments.max_running,
                  "slurm: workers that this call submits at most; 0: one for each waiting trial")
      ->transform(integer_between(0, 1'000'000));
  command.add_option("--sbatch", arguments.sbatch, "slurm: a script in place of launch/sweep.sbatch");
  // OVERRIDES takes what follows "--" as well. CLI11 lets words follow "--" only as long as a positional is without
  // any.
  constexpr int most_words = 1000;
  command
      .add_option("OPTIONS", arguments.sbatch_options,
                  "slurm: options of sbatch, after --, such as -- --partition=debug --time=04:00:00")
      ->expected(1, most_words);
  command.add_flag("--retry-failed", arguments.retry_failed, "try every failed trial again");
}

}  // namespace

void add_sweep(CLI::App& app, Action& action) {
  auto* sweep = add_sweep_itself(app);
  const auto arguments = std::make_shared<SweepArguments>();
  for (const auto& entry : steps) {
    auto* command = sweep->add_subcommand(entry.name, entry.help);
    command->add_option("SWEEP", arguments->file, "sweep (TOML)")->required(entry.needs_file);
    add_options(*command, entry.name, *arguments);
    const auto* more = std::string_view(entry.name) == "ask" ? " --json wishes.json" : "";
    end_help(*command, fmt::format("sweep {} {}{}", entry.name,
                                   entry.needs_file ? "configs/sweeps/smoke.toml" : "--dir runs/smoke", more));
    command->callback(
        [arguments, step = entry.step, &action] { action = [arguments, step] { return step(*arguments); }; });
  }
  add_sweep_status(*sweep, action);
}

}  // namespace spankey::cli
