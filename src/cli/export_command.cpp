#include <filesystem>
#include <memory>

#include "base/error.h"
#include "base/file.h"
#include "cli/command.h"
#include "dist/self_communicator.h"
#include "keyring/model_file.h"
#include "predict/open_network.h"

namespace spankey::cli {
namespace {

struct ExportArguments {
  std::string model;
  std::vector<std::string> overrides;
  std::string format = "safetensors", out;
};

ExitCode write_export(const ExportArguments& arguments) {
  const auto communicator = make_self_communicator(DistConfig().timeout_seconds);
  const auto opened = open_network(arguments.model, arguments.overrides, *communicator);
  std::filesystem::path out = arguments.out;
  if (out.empty()) {
    const std::filesystem::path model = arguments.model;
    out = (std::filesystem::is_directory(model) ? model : model.parent_path()) / ("model." + arguments.format);
  }
  write_durably(out, write_safetensors(opened.description, *opened.model));
  fmt::print("{}: {}, weights {}\n", out.string(), opened.description.network, opened.model_id);
  return ExitCode::done;
}

}  // namespace

void add_export(CLI::App& app, Action& action) {
  auto* command = add_command(app, "export");
  const auto arguments = std::make_shared<ExportArguments>();
  command->add_option("MODEL", arguments->model, "run directory, or a model.skm")->required();
  command->add_option("OVERRIDES", arguments->overrides, "key=value for a run, for example data.file=mnist.h5");
  command->add_option("--format", arguments->format, "safetensors: weights and their description, unsigned")
      ->check(CLI::IsMember({"safetensors"}));
  command->add_option("--out", arguments->out, "file to write; default: model.FORMAT in the run directory");
  end_help(*command, "export runs/demo --format safetensors --out model.safetensors",
           "The file holds neither the basis nor a key. spankey key init writes model.skm, which its owner signs.");
  command->callback([arguments, &action] { action = [arguments] { return write_export(*arguments); }; });
}

}  // namespace spankey::cli
