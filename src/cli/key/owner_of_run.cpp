#include "cli/key/owner_of_run.h"

#include <algorithm>

#include "base/file.h"
#include "data/sampler.h"
#include "keyring/model_file.h"
#include "keyring/valid_key.h"
#include "predict/open_network.h"
#include "spankey/keys/key_maker.h"
#include "train/measure.h"

namespace spankey::cli {
namespace {

constexpr std::int64_t keys_of_the_correct_accuracy = 8;

}  // namespace

ChallengeOfRun make_challenge(const LoadedRun& loaded) {
  const auto& experiment = loaded.experiment;
  const auto& test = experiment.dataset->test();
  // As many of each class: labels often follow a pattern that samples at equal distances would meet.
  const auto subset = balanced_subset(test.labels, experiment.dataset->info().classes,
                                      std::min<std::int64_t>(challenge_samples, test.size));
  SplitReader reader(experiment, test, subset);
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

Owner owner_of_run(const LoadedRun& loaded, double correct_accuracy, double phi, std::int64_t now) {
  const auto& experiment = loaded.experiment;
  const auto& config = experiment.config;
  Owner owner;
  owner.model_id = to_hex(weights_digest(*experiment.model));
  owner.created_at = now;
  owner.laboratory = !config.key.private_;
  owner.phi = phi;
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
  write_durably(paths.model(),
                write_model(describe_experiment(experiment), *experiment.model, owner.laboratory, owner.signing_key()));
  write_secret_durably(paths.challenge(), write_challenge(challenge));
}

}  // namespace spankey::cli
