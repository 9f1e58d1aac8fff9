#include <filesystem>
#include <memory>

#include "base/error.h"
#include "base/file.h"
#include "cli/command.h"
#include "cli/key/key_arguments.h"
#include "cli/key/passphrase.h"
#include "cli/number_option.h"
#include "dist/self_communicator.h"
#include "keyring/model_file.h"
#include "predict/open_network.h"

namespace spankey::cli {
namespace {

struct ExportArguments {
  std::string model;
  std::vector<std::string> overrides;
  std::string format = "safetensors", out, owner;
  PassphraseSource passphrase;
};

// A model.skm, which the owner of exactly these weights signs.
std::vector<std::byte> signed_model(const ExportArguments& arguments, const OpenedNetwork& opened) {
  if (arguments.owner.empty())
    fail_input("--format skm: --owner is missing; accepted: the folder of the owner, who signs the file");
  const OwnerPaths paths{arguments.owner};
  const auto passphrase = read_passphrase(arguments.passphrase, paths.owner().string());
  const OwnerFolder folder(paths, passphrase, OwnerFolder::Access::read, current_time());
  const auto& owner = folder.owner();
  if (owner.model_id != opened.model_id)
    fail_input("--owner {}: it owns model {}, not {} of {}", arguments.owner, owner.model_id.substr(0, 12),
               opened.model_id.substr(0, 12), arguments.model);
  return write_model(opened.description, *opened.model, owner.laboratory, owner.signing_key());
}

ExitCode write_export(const ExportArguments& arguments) {
  const auto communicator = make_self_communicator(DistConfig().timeout_seconds);
  const auto opened = open_network(arguments.model, arguments.overrides, *communicator);
  std::filesystem::path out = arguments.out;
  if (out.empty()) {
    const std::filesystem::path model = arguments.model;
    out = (std::filesystem::is_directory(model) ? model : model.parent_path()) / ("model." + arguments.format);
  }
  write_durably(out, arguments.format == "skm" ? signed_model(arguments, opened)
                                               : write_safetensors(opened.description, *opened.model));
  fmt::print("{}: {}, weights {}\n", out.string(), opened.description.network, opened.model_id);
  return ExitCode::done;
}

}  // namespace

void add_export(CLI::App& app, Action& action) {
  auto* command = add_command(app, "export");
  const auto arguments = std::make_shared<ExportArguments>();
  command->add_option("MODEL", arguments->model, "run directory, or a model.skm")->required();
  command->add_option("OVERRIDES", arguments->overrides, "key=value for a run, for example data.file=mnist.h5");
  command
      ->add_option("--format", arguments->format, "safetensors: for other programs; skm: for spankey predict, signed")
      ->check(CLI::IsMember({"safetensors", "skm"}));
  command->add_option("--out", arguments->out, "file to write; default: model.FORMAT in the run directory");
  command->add_option("--owner", arguments->owner, "folder of the owner, for --format skm");
  command->add_option("--passphrase-file", arguments->passphrase.file, "what opens it; default: the terminal");
  command->add_option("--passphrase-fd", arguments->passphrase.descriptor, "an open descriptor in place of a file")
      ->transform(integer_between(0, 1 << 20))
      ->default_str("");
  end_help(*command, "export runs/demo --format safetensors --out model.safetensors",
           "The file holds neither the basis nor a key.");
  command->callback([arguments, &action] { action = [arguments] { return write_export(*arguments); }; });
}

}  // namespace spankey::cli
