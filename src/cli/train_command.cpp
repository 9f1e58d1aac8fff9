#include <memory>

#include "cli/command.h"
#include "cli/network_command.h"
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
  bool allow_change = false, dry_run = false;
};

Resume to_resume(const std::string& word) {
  if (word == "never") return Resume::never;
  return word == "require" ? Resume::require : Resume::automatic;
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
  command->add_flag("--allow-change", arguments->allow_change, "go on although the configuration has changed");
  command->add_flag("--dry-run", arguments->dry_run,
                    "check configuration and data, print what would be done, and write nothing");
  end_help(*command, "train configs/demo.toml key.gamma=1.0 --run-dir runs/strong",
           "Stop with SIGUSR2 (Ctrl-C without mpirun) or a file STOP in the run directory: the run commits a "
           "checkpoint and exits with 75.\n\nConfiguration:\n" +
               describe_fields());
  command->callback([arguments, &action] {
    action = [arguments] {
      const TrainRequest request{.config = load_config(arguments->config, arguments->overrides),
                                 .config_file = arguments->config,
                                 .run_directory = arguments->run_directory,
                                 .resume = to_resume(arguments->resume),
                                 .allow_change = arguments->allow_change,
                                 .init = nullptr};
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
