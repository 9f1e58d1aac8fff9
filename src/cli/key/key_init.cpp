// spankey key init: makes an owner of a trained run.
#include <ATen/Parallel.h>
#include <fmt/format.h>

#include "cli/command.h"
#include "cli/key/key_arguments.h"
#include "cli/key/owner_of_run.h"
#include "dist/communicator.h"
#include "keyring/key_facts.h"
#include "keyring/valid_key.h"
#include "train/loaded_run.h"
#include "train/resources.h"

namespace spankey::cli {
namespace {

// Refuses runs that no owner can be made of, before anything is loaded.
void check_run(const KeyArguments& arguments, const Config& config) {
  if (config.train.twin != Twin::none)
    fail_input("{}: train.twin = \"{}\" has no keys to issue; accepted: a run with train.twin = \"none\"",
               arguments.target, to_string(config.train.twin));
  if (config.key.private_ || arguments.laboratory) return;
  fail_input(
      "{}: its basis follows a seed, so that anybody can draw it again; accepted: a run with key.private = true, or "
      "--laboratory, which every file will then say",
      arguments.target);
}

}  // namespace

ExitCode key_init(const KeyArguments& arguments) {
  const RunDirectory directory{arguments.target};
  const auto config = run_config(directory, arguments.overrides);
  check_run(arguments, config);
  if (std::filesystem::exists(std::filesystem::symlink_status(arguments.out)))
    fail_input("--out {}: it exists already; accepted: the name of a new folder", arguments.out);
  const auto passphrase = read_new_passphrase(arguments.passphrase, "the owner of " + arguments.out);
  // One process does it, also under a launcher.
  auto alone = config.dist;
  alone.backend = Backend::self;
  return with_communicator(alone, [&](Communicator& communicator) {
    const auto loaded = load_run(directory, arguments.overrides, communicator);
    at::set_num_threads(resolve_threads(loaded.experiment.config, communicator.node_size()));
    const auto now = current_time();
    const auto made = make_challenge(loaded);
    auto owner = owner_of_run(loaded, made.correct_accuracy, arguments.phi, now);
    issuer_of(owner);  // refuses sites that are too narrow for a fingerprint
    const nlohmann::json json{
        {"owner", arguments.out},         {"model_id", owner.model_id}, {"public_key", hex_text(owner.public_key)},
        {"laboratory", owner.laboratory}, {"phi", owner.phi},           {"correct_accuracy", owner.correct_accuracy}};
    const auto text = fmt::format(
        "{0}: owner of model {1}, public key {2}\n"
        "valid keys answer {3:.3f} of {4} test samples right; a new key must reach {5:.3f}\n"
        "keep owner.sks, registry.skr and audit.log to yourself, and a copy elsewhere (key export); give away "
        "model.skm and revoked.skl\n"
        "{6} still holds the basis: it is the run's own copy of the secret\n",
        arguments.out, owner.model_id.substr(0, 12), hex_text(owner.public_key).substr(0, 12), owner.correct_accuracy,
        made.challenge.labels.size(0), owner.correct_accuracy - most_accuracy_lost, directory.basis().string());
    const bool laboratory = owner.laboratory;
    const OwnerFiles write_files = [&](const OwnerPaths& paths, const Owner& of) {
      write_public_files(paths, loaded, of, made.challenge);
    };
    OwnerFolder::create({arguments.out}, std::move(owner), passphrase, arguments.cost(), now, write_files);
    print_key_result(arguments, json, text, laboratory);
    return ExitCode::done;
  });
}

}  // namespace spankey::cli
