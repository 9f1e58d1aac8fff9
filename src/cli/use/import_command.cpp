#include <filesystem>
#include <memory>

#include "base/error.h"
#include "base/file.h"
#include "base/lease.h"
#include "base/version.h"
#include "cli/command.h"
#include "cli/network_command.h"
#include "dist/self_communicator.h"
#include "record/run_directory.h"
#include "train/checkpoint.h"

namespace spankey::cli {
namespace {

struct ImportArguments {
  std::string from, config, out;
  std::vector<std::string> overrides;
};

// A checkpoint before the first step. The basis belongs to whoever trained the weights.
Checkpoint checkpoint_of(const Experiment& experiment) {
  return {.cursor = {},
          .config_toml = to_toml(experiment.config),
          .config_hash = experiment.hash,
          .basis_digest = {},
          .data_digest = experiment.dataset->info().digest,
          .program = program_version(),
          .computed_on = std::string(imported_weights),
          .parameters = named_parameters(*experiment.model),
          .buffers = named_buffers(*experiment.model),
          .optimizer = {}};
}

ExitCode import_run(const ImportArguments& arguments) {
  const auto config = load_config(arguments.config, arguments.overrides);
  const auto communicator = make_self_communicator(config.dist.timeout_seconds);
  const RunDirectory directory{arguments.out};
  if (std::filesystem::exists(directory.config()) || !list_checkpoints(directory.checkpoints()).empty())
    fail_input("--out {}: it already holds a run; accepted: a new folder", arguments.out);
  const auto weights = read_weights(arguments.from, *communicator);
  const auto experiment = make_experiment(config, {}, open_data(config.data, *communicator), weights.get());
  directory.create();
  const Lease lease(directory.root);
  write_durably(checkpoint_path(directory.checkpoints(), 0), encode_checkpoint(checkpoint_of(experiment)));
  write_durably(directory.config(), to_toml(experiment.config));
  fmt::print("{}: {}, weights {}\n", arguments.out, experiment.config.model.name, experiment.config.train.init_digest);
  return ExitCode::done;
}

}  // namespace

void add_import(CLI::App& app, Action& action) {
  auto* command = add_command(app, "import");
  const auto arguments = std::make_shared<ImportArguments>();
  command->add_option("OVERRIDES", arguments->overrides, "key=value, for example data.file=mnist.h5");
  command->add_option("--from", arguments->from, "weights: a safetensors file, or a model.skm")->required();
  command->add_option("--config", arguments->config, "configuration file (TOML) of the network and its data")
      ->required();
  command->add_option("--out", arguments->out, "run directory to make")->required();
  end_help(*command, "import --from model.safetensors --config configs/demo.toml --out runs/imported",
           "Names, types and shapes of all tensors are compared with the network, and every difference is named. The "
           "run can be predicted with, attacked and exported. To train on, use train --init FILE.");
  command->callback([arguments, &action] { action = [arguments] { return import_run(*arguments); }; });
}

}  // namespace spankey::cli
