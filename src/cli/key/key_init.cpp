// spankey key init: makes an owner of a trained run.
#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <numeric>

#include "base/file.h"
#include "cli/command.h"
#include "cli/key/key_arguments.h"
#include "dist/communicator.h"
#include "keyring/challenge.h"
#include "keyring/key_facts.h"
#include "keyring/model_file.h"
#include "keyring/valid_key.h"
#include "spankey/keys/key_maker.h"
#include "train/loaded_run.h"
#include "train/measure.h"
#include "train/resources.h"

namespace spankey::cli {
namespace {

constexpr std::int64_t keys_of_the_correct_accuracy = 8;

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

// Samples of the test split, spread evenly.
std::vector<std::int64_t> challenge_subset(const Split& split) {
  const auto count = std::min(challenge_samples, split.size);
  std::vector<std::int64_t> subset;
  for (std::int64_t i = 0; i < count; ++i) subset.push_back(i * split.size / count);
  return subset;
}

struct ChallengeOfRun {
  Challenge challenge;
  double correct_accuracy = 0;  // of valid keys without fingerprints
};

ChallengeOfRun make_challenge(const LoadedRun& loaded) {
  const auto& experiment = loaded.experiment;
  const auto subset = challenge_subset(experiment.dataset->test());
  SplitReader reader(experiment, experiment.dataset->test(), subset);
  const EvaluationMode mode(*experiment.model);
  const KeyMaker keys(experiment.config, loaded.basis);
  std::int64_t correct = 0, samples = 0;
  for (std::int64_t i = 0; i < keys_of_the_correct_accuracy; ++i) {
    const auto key = keys.evaluation_correct(i, evaluation_batch);
    const auto counts = measure([&](const at::Tensor& x) { return experiment.model->forward(x, key); }, reader,
                                experiment.deny->reject);
    correct += counts.correct;
    samples += counts.samples;
  }
  const auto& rows = reader.rows(0, reader.size());
  return {{rows.x, rows.labels}, static_cast<double>(correct) / static_cast<double>(samples)};
}

Owner make_owner(const KeyArguments& arguments, const LoadedRun& loaded, double correct_accuracy, std::int64_t now) {
  const auto& experiment = loaded.experiment;
  const auto& config = experiment.config;
  Owner owner;
  owner.model_id = to_hex(weights_digest(*experiment.model));
  owner.created_at = now;
  owner.laboratory = !config.key.private_;
  owner.phi = arguments.phi;
  owner.correct_accuracy = correct_accuracy;
  owner.key = config.key;
  owner.key.seed = 0;  // The header is no place for it.
  owner.compat = config.run.compat;
  for (std::size_t i = 0; i < experiment.key_dims.size(); ++i)
    owner.sites.push_back({config.key.layers[i], experiment.key_dims[i]});
  owner.basis = secret_basis(loaded.basis);
  owner.master_secret = SecretBytes::random(32);
  owner.signing_seed = SecretBytes::random(32);
  owner.public_key = owner.signing_key().public_key();
  owner.codebook_seed = key_seed(config.key, static_cast<std::uint64_t>(config.run.seed));
  return owner;
}

void write_public_files(const OwnerPaths& paths, const LoadedRun& loaded, const Owner& owner,
                        const Challenge& challenge) {
  const auto& experiment = loaded.experiment;
  const auto& info = experiment.dataset->info();
  const SampleFacts samples{info.sample_shape, info.class_names, info.mean, info.std};
  const auto description = describe_network(experiment.config, samples, *experiment.model);
  write_durably(paths.model(), write_model(description, *experiment.model, owner.laboratory, owner.signing_key()));
  write_secret_durably(paths.challenge(), write_challenge(challenge));
}

}  // namespace

ExitCode key_init(const KeyArguments& arguments) {
  const RunDirectory directory{arguments.target};
  const auto config = run_config(directory, arguments.overrides);
  check_run(arguments, config);
  if (std::filesystem::exists(std::filesystem::symlink_status(arguments.out)))
    fail_input("--out {}: it exists already; accepted: the name of a new folder", arguments.out);
  const auto passphrase = read_new_passphrase(arguments.passphrase, "the owner of " + arguments.out);
  return with_communicator(config.dist, [&](Communicator& communicator) {
    const auto loaded = load_run(directory, arguments.overrides, communicator);
    at::set_num_threads(resolve_threads(loaded.experiment.config, communicator.node_size()));
    const auto now = current_time();
    const auto made = make_challenge(loaded);
    auto owner = make_owner(arguments, loaded, made.correct_accuracy, now);
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
