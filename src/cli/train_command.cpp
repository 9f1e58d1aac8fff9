#include <cstdlib>
#include <memory>

#include "base/shutdown.h"
#include "cli/command.h"
#include "cli/network_command.h"
#include "cli/number_option.h"
#include "cli/sweep_status.h"
#include "dist/backend.h"
#include "sweep/choices.h"
#include "sweep/local_executor.h"
#include "sweep/sweep.h"
#include "train/dry_run.h"
#include "train/trainer.h"

namespace spankey::cli {
namespace {

struct TrainArguments {
  std::string config;
  std::vector<std::string> overrides;
  std::string run_directory;
  std::string resume = "auto";
  std::string init;
  std::int64_t pause_epochs = 0;
  bool allow_change = false, dry_run = false, multirun = false;
};

Resume to_resume(const std::string& word) {
  if (word == "never") return Resume::never;
  return word == "require" ? Resume::require : Resume::automatic;
}

// Trains every combination of the values on the command line, one after the other, as the trials of a sweep.
ExitCode run_all(const TrainArguments& arguments) {
  const auto variable = [](const char* name) -> const char* { return std::getenv(name); };
  if (resolve_backend(Backend::auto_, variable) == Backend::mpi)
    fail_input("--multirun: started by mpirun; accepted: without mpirun, or `spankey sweep run` under it");
  if (!arguments.init.empty() || arguments.allow_change || arguments.resume != "auto" || arguments.pause_epochs > 0)
    fail_input("--multirun: accepted with --run-dir and --dry-run alone, without options of a single run");
  const auto directory = sweep_directory(arguments.config, arguments.run_directory);
  const auto plan = make_plan(one_off_sweep(arguments.config, arguments.overrides), {.directory = directory});
  Ledger ledger(plan.store);
  if (arguments.dry_run) {
    fmt::print("{}", plan_text(plan, ledger, /*json=*/false));
    return ExitCode::done;
  }
  save_plan(plan, directory);
  shutdown::install_handlers();
  fmt::print("{} trials; in {}\n", plan.trials.size(), plan.store.string());
  return run_local(plan, ledger, train_command(plan, ledger, /*ranks=*/1), {.directory = directory});
}

}  // namespace

void add_train(CLI::App& app, Action& action) {
  auto* command = add_command(app, "train");
  const auto arguments = std::make_shared<TrainArguments>();
  command->add_option("CONFIG", arguments->config, "configuration file (TOML)")->required();
  command->add_option("OVERRIDES", arguments->overrides, "key=value, for example key.gamma=1.0");
  command->add_option("--run-dir", arguments->run_directory,
                      "folder of the run; default: runs/<name of the file>-<hash of the configuration>");
  command->add_option("--resume", arguments->resume, "auto: go on if there is a checkpoint")
      ->check(CLI::IsMember({"auto", "never", "require"}));
  command->add_option("--init", arguments->init,
                      "weights to start from: a safetensors file or a model.skm of the same network");
  command
      ->add_option("--pause-after-epochs", arguments->pause_epochs,
                   "pause with a checkpoint and an evaluation after so many epochs of the whole run; 0: never")
      ->transform(integer_between(0, 1'000'000));
  command->add_flag("--allow-change", arguments->allow_change, "go on although the configuration has changed");
  command->add_flag(
      "-m,--multirun", arguments->multirun,
      "train every combination of OVERRIDES such as key.gamma=0.5,1 as the trials of a sweep in --run-dir; "
      "default: runs/<name of the file>");
  command->add_flag("--dry-run", arguments->dry_run,
                    "check configuration and data, print what would be done, and write nothing");
  end_help(*command, "train configs/demo.toml key.gamma=1.0 --run-dir runs/strong",
           "Stop with SIGUSR2 (Ctrl-C without mpirun) or a file STOP in the run directory: the run commits a "
           "checkpoint and exits with 75.\n\nConfiguration:\n" +
               describe_fields());
  command->callback([arguments, &action] {
    action = [arguments] {
      if (arguments->multirun) return run_all(*arguments);
      const TrainRequest request{.config = load_config(arguments->config, arguments->overrides),
                                 .config_file = arguments->config,
                                 .run_directory = arguments->run_directory,
                                 .resume = to_resume(arguments->resume),
                                 .allow_change = arguments->allow_change,
                                 .init = nullptr,
                                 .pause_epochs = arguments->pause_epochs};
      return with_communicator(request.config.dist,
                               [&, work = arguments->dry_run ? dry_run : train](Communicator& communicator) {
                                 auto started = request;
                                 started.init = read_weights(arguments->init, communicator);
                                 return work(started, communicator);
                               });
    };
  });
}

}  // namespace spankey::cli
