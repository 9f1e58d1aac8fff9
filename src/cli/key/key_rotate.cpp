// spankey key rotate: trains an owner's model on to a new basis, so that the keys issued so far open nothing.
#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <optional>

#include "base/launch.h"
#include "base/log.h"
#include "base/text.h"
#include "cli/command.h"
#include "cli/key/key_arguments.h"
#include "cli/key/owner_of_run.h"
#include "cli/network_command.h"
#include "dist/on_all_ranks.h"
#include "keyring/challenge.h"
#include "keyring/rotation.h"
#include "keyring/valid_key.h"
#include "predict/open_network.h"
#include "train/loaded_run.h"
#include "train/resources.h"
#include "train/trainer.h"

namespace spankey::cli {
namespace {

constexpr double most_above_commonest = 0.05;  // of an old key's accuracy
constexpr std::size_t most_old_keys = 32;      // issued ones to try, spread evenly
constexpr std::uint64_t fresh_keys = 8;        // of the old owner that nobody holds, and of the new one

// What the training follows: the configuration of RUN with `overrides`, with a basis of its own that no seed makes.
// What the owner's keys and the denial depend on cannot be overridden.
Config rotation_config(const KeyArguments& arguments, const Owner& owner) {
  for (const auto& each : arguments.overrides)
    for (const char* table : {"key.", "deny.", "model."})
      if (each.starts_with(table))
        fail_input("{}: a rotation keeps the tables key, deny and model of the run; accepted: another key", each);
  auto config = canonical(run_config(RunDirectory{arguments.run}, arguments.overrides));
  auto law = config.key;
  law.seed = owner.key.seed;
  law.private_ = owner.key.private_;
  if (!(law == owner.key) || config.run.compat != owner.compat)
    fail_input("{}: its table key is not that of the owner's keys; accepted: a run of the model of {}", arguments.run,
               arguments.target);
  if (config.deny.mode == "none")
    fail_input(
        "{}: deny.mode = \"none\" locks nobody out, so that old keys would go on opening the model; accepted: a "
        "run with a deny loss",
        arguments.run);
  config.key.private_ = true;
  return config;
}

// How far the old keys still open the new network, and how far new ones do, on the challenge samples.
struct Proof {
  double commonest = 0;                     // accuracy of always answering the commonest class
  ChallengeAccuracy no_key;                 // what anybody gets
  std::vector<ChallengeAccuracy> old_keys;  // issued ones, then ones that were never issued
  ChallengeAccuracy mean_of_old_keys;       // of the key that is their mean
  std::vector<ChallengeAccuracy> new_keys;
  double wanted = 0;  // of the new keys' mean accuracy as shipped

  double most_allowed() const { return commonest + most_above_commonest; }
  double worst_old(double ChallengeAccuracy::*reading) const {
    double worst = mean_of_old_keys.*reading;
    for (const auto& key : old_keys) worst = std::max(worst, key.*reading);
    return worst;
  }
  bool denies_stripped() const { return worst_old(&ChallengeAccuracy::stripped) < most_allowed(); }
  double new_mean() const {
    double sum = 0;
    for (const auto& key : new_keys) sum += key.shipped;
    return sum / static_cast<double>(new_keys.size());
  }
};

double commonest_share(const at::Tensor& labels) {
  return at::bincount(labels).max().item<double>() / static_cast<double>(labels.numel());
}

// Serials of the issued keys to try, and of some that follow.
std::vector<std::uint64_t> serials_to_try(const Registry& registry) {
  const std::size_t issued = registry.keys().size(), tried = std::min(issued, most_old_keys);
  std::vector<std::uint64_t> serials;
  for (std::size_t i = 0; i < tried; ++i) serials.push_back(registry.keys()[i * issued / tried].serial);
  for (std::uint64_t i = 0; i < fresh_keys; ++i) serials.push_back(registry.next_serial() + i);
  return serials;
}

// Tries keys of owners on the network of a run.
class KeyTrial {
 public:
  KeyTrial(const Experiment& experiment, const Challenge& challenge)
      : model_(*experiment.model), description_(describe_experiment(experiment)), challenge_(challenge) {}

  ChallengeAccuracy with_key(const Owner& owner, SecretBytes vectors) const {
    const UserKey key{.serial = 1,
                      .name = {},
                      .model_id = owner.model_id,
                      .key_digest = {},
                      .sites = owner.sites,
                      .vectors = std::move(vectors)};
    return accuracy(&key);
  }
  ChallengeAccuracy without_key() const { return accuracy(nullptr); }

 private:
  ChallengeAccuracy accuracy(const UserKey* key) const {
    return challenge_accuracy(model_, description_, challenge_, key);
  }

  Model& model_;
  NetworkDescription description_;
  const Challenge& challenge_;
};

SecretBytes vectors_of(const OwnerFolder& folder, const KeyIssuer& issuer, std::uint64_t serial) {
  const auto& owner = folder.owner();
  const bool issued = serial < folder.registry().next_serial();
  return key_vectors(owner, issuer, issued ? folder.registry().alphas(serial) : draw_alphas(owner, serial), serial);
}

Proof prove(const OwnerFolder& old, const Owner& next, const Experiment& experiment, const Challenge& challenge) {
  const KeyTrial trial(experiment, challenge);
  Proof proof;
  proof.commonest = commonest_share(challenge.labels);
  proof.no_key = trial.without_key();
  proof.wanted = old.owner().correct_accuracy - most_accuracy_lost;
  const auto old_issuer = issuer_of(old.owner()), new_issuer = issuer_of(next);
  SecretBytes mean;
  for (const auto serial : serials_to_try(old.registry())) {
    auto vectors = vectors_of(old, old_issuer, serial);
    if (mean.empty()) mean = SecretBytes(vectors.size());
    for (std::size_t i = 0; i < mean.floats().size(); ++i) mean.floats()[i] += vectors.floats()[i];
    proof.old_keys.push_back(trial.with_key(old.owner(), std::move(vectors)));
  }
  // It is brought to the strength of a key before it is tried.
  proof.mean_of_old_keys = trial.with_key(old.owner(), std::move(mean));
  for (std::uint64_t serial = 1; serial <= fresh_keys; ++serial)
    proof.new_keys.push_back(trial.with_key(next, key_vectors(next, new_issuer, draw_alphas(next, serial), serial)));
  return proof;
}

void require_proved(const Proof& proof, const Rotation& rotation, bool as_shipped) {
  const auto ways = fmt::format(
      "nothing has been published; accepted: more epochs (train.epochs=N) after --discard, "
      "which removes {}",
      rotation.root().string());
  const double shipped = proof.worst_old(&ChallengeAccuracy::shipped);
  if (shipped >= proof.most_allowed())
    fail_run("an old key still answers {:.3f} right, and {:.3f} is the most that it may; {}", shipped,
             proof.most_allowed(), ways);
  if (proof.new_mean() < proof.wanted)
    fail_run("new keys answer {:.3f} right, and {:.3f} is the least that they must; {}", proof.new_mean(), proof.wanted,
             ways);
  if (!proof.denies_stripped() && !as_shipped)
    fail_run(
        "an old key is rejected, but whoever ignores the rejection still gets {:.3f} right with it ({:.3f} without any "
        "key), and {:.3f} is the most that he may; {}, or --as-shipped for users who take the answers as they come",
        proof.worst_old(&ChallengeAccuracy::stripped), proof.no_key.stripped, proof.most_allowed(), ways);
}

// The owner of the new model. It signs as the old one does.
Owner next_owner(const Owner& old, const LoadedRun& loaded, double correct_accuracy, std::int64_t now) {
  auto owner = owner_of_run(loaded, correct_accuracy, old.phi, now);
  owner.signing_seed = SecretBytes::copy_of(old.signing_seed.bytes());
  owner.public_key = old.public_key;
  return owner;
}

nlohmann::json proof_json(const Proof& proof) {
  const auto all = [](const std::vector<ChallengeAccuracy>& keys, double ChallengeAccuracy::*reading) {
    auto list = nlohmann::json::array();
    for (const auto& key : keys) list.push_back(key.*reading);
    return list;
  };
  return {{"commonest_class", proof.commonest},
          {"most_allowed", proof.most_allowed()},
          {"old_keys", all(proof.old_keys, &ChallengeAccuracy::shipped)},
          {"old_keys_stripped", all(proof.old_keys, &ChallengeAccuracy::stripped)},
          {"mean_of_old_keys", proof.mean_of_old_keys.shipped},
          {"mean_of_old_keys_stripped", proof.mean_of_old_keys.stripped},
          {"no_key_stripped", proof.no_key.stripped},
          {"new_keys", all(proof.new_keys, &ChallengeAccuracy::shipped)},
          {"wanted_of_new_keys", proof.wanted}};
}

std::string proof_text(const Proof& proof, std::int64_t samples) {
  return fmt::format(
      "{} old keys and their mean answer at most {:.3f} right on {} samples, {:.3f} with the rejection ignored; no key "
      "{:.3f} with the rejection ignored, always the commonest class {:.3f}, new keys {:.3f}\n",
      proof.old_keys.size(), proof.worst_old(&ChallengeAccuracy::shipped), samples,
      proof.worst_old(&ChallengeAccuracy::stripped), proof.no_key.stripped, proof.commonest, proof.new_mean());
}

void finish(const Rotation& rotation, const KeyArguments& arguments, nlohmann::json json, const std::string& proof) {
  rotation.finish();
  const auto header = read_owner_header_of({rotation.owner()});
  json["owner"] = rotation.owner().string();
  json["model_id"] = header.model_id;
  print_key_result(
      arguments, json,
      fmt::format("{}{}: now owner of model {:.12}; hand out the new model.skm and revoked.skl, and issue new keys\n"
                  "the folder of the old model is in {}: leaked old keys are still traced with it\n"
                  "whoever keeps the old weights goes on using them with an old key\n",
                  proof, rotation.owner().string(), header.model_id, (rotation.owner() / "retired").string()),
      header.laboratory);
}

// Rank 0. Proves, writes the new folder beside the old one, and exchanges the two.
void publish(const KeyArguments& arguments, const Rotation& rotation, const LoadedRun& loaded,
             const SecretBytes& passphrase) {
  const auto now = current_time();
  nlohmann::json json;
  std::string text;
  {
    OwnerFolder old({rotation.owner()}, passphrase, OwnerFolder::Access::write, now);
    const auto made = make_challenge(loaded);
    auto owner = next_owner(old.owner(), loaded, made.correct_accuracy, now);
    const auto proof = prove(old, owner, loaded.experiment, made.challenge);
    require_proved(proof, rotation, arguments.as_shipped);
    json["proof"] = proof_json(proof);
    text = proof_text(proof, made.challenge.labels.numel());
    rotation.clear_next();
    const OwnerFiles write_files = [&](const OwnerPaths& paths, const Owner& of) {
      write_public_files(paths, loaded, of, made.challenge);
    };
    const auto model_id = owner.model_id;
    OwnerFolder::create({rotation.next()}, std::move(owner), passphrase, arguments.cost(), now, write_files);
    old.note("rotate", {{"to", model_id}, {"proved", proof.denies_stripped() ? "on class logits" : "as shipped"}}, now);
    rotation.publish();
  }
  finish(rotation, arguments, std::move(json), text);
}

// Collective. Trains in the folder of the rotation, and denies the keys of the old basis. Anything but done: stopped as
// asked.
ExitCode train_on(const KeyArguments& arguments, const Rotation& rotation, const Config& config,
                  const std::shared_ptr<const Basis>& retired, Communicator& communicator) {
  return train({.config = config,
                .config_file = {},
                .run_directory = rotation.run(),
                .resume = Resume::automatic,
                .allow_change = false,
                .init = read_weights(OwnerPaths{rotation.owner()}.model().string(), communicator),
                .retired = retired,
                .print_result = !arguments.json},
               communicator);
}

ExitCode rotate(const KeyArguments& arguments, const Rotation& rotation, const Owner& header, const Config& config,
                Communicator& communicator) {
  const bool first = communicator.rank() == 0;
  SecretBytes passphrase;
  const auto retired = std::make_shared<Basis>();
  for (const auto& site : header.sites) retired->layers.push_back(secret_matrix(header.key.m, site.width));
  on_all_ranks(communicator, [&] {
    if (!first) return;
    passphrase = read_passphrase(arguments.passphrase, "the owner of " + rotation.owner().string());
    const OwnerFolder old({rotation.owner()}, passphrase, OwnerFolder::Access::read, current_time());
    *retired = basis_of(old.owner());
    rotation.begin(header.model_id);
  });
  for (auto& layer : retired->layers) communicator.broadcast(layer, 0);
  if (const auto code = train_on(arguments, rotation, config, retired, communicator); code != ExitCode::done)
    return code;
  const auto loaded = load_run(RunDirectory{rotation.run()}, {}, communicator);
  on_all_ranks(communicator, [&] {
    if (first) publish(arguments, rotation, loaded, passphrase);
  });
  return ExitCode::done;
}

void print_plan(const KeyArguments& arguments, const Rotation& rotation, const Owner& header, const Config& config,
                bool begun) {
  print_key_result(
      arguments,
      {{"dry_run", true},
       {"owner", rotation.owner().string()},
       {"model_id", header.model_id},
       {"folder", rotation.root().string()},
       {"goes_on", begun},
       {"epochs", config.train.epochs}},
      fmt::format("would {} {} of {} with a new basis in {}, try the old keys on the result, and publish it where none "
                  "of them opens more than the commonest class and {:g}\n",
                  begun ? "go on with" : "train the present weights for", counted(config.train.epochs, "epoch"),
                  arguments.run, rotation.root().string(), most_above_commonest),
      header.laboratory);
}

void print_rest(const KeyArguments& arguments, const Rotation& rotation, const Owner& header) {
  print_key_result(
      arguments,
      {{"dry_run", true},
       {"owner", rotation.owner().string()},
       {"model_id", header.model_id},
       {"folder", rotation.root().string()},
       {"switched", true}},
      fmt::format("{0} holds the new model {1:.12} already: would move the folder of the old one to {0}/retired, and "
                  "remove {2}\n",
                  rotation.owner().string(), header.model_id, rotation.root().string()),
      header.laboratory);
}

// Does what was left to do after the switch. `together`: all ranks of the launch are here, and rank 0 does it.
ExitCode finish_switched(const KeyArguments& arguments, const Rotation& rotation, bool together) {
  DistConfig dist;
  if (!together) dist.backend = Backend::self;
  return with_communicator(dist, [&](Communicator& communicator) {
    on_all_ranks(communicator, [&] {
      if (communicator.rank() != 0) return;
      log::info("{}: the rotation was killed after its switch; what was left to do is done now",
                rotation.owner().string());
      finish(rotation, arguments, nlohmann::json::object(), {});
    });
    return ExitCode::done;
  });
}

}  // namespace

// A launch of several ranks comes here as a whole. Nothing of a rotation is changed before a communicator stands, since
// a rank that comes late has to read the same stage as the others.
ExitCode key_rotate(const KeyArguments& arguments) {
  const bool trains = !arguments.discard && !arguments.dry_run;
  if (!trains && read_launch().rank != 0) return ExitCode::done;
  const Rotation rotation(arguments.target);
  const auto header = read_owner_header_of({rotation.owner()});
  const auto stage = rotation.stage(header.model_id);
  if (stage == Rotation::Stage::switched) {
    if (!arguments.dry_run) return finish_switched(arguments, rotation, trains);
    print_rest(arguments, rotation, header);
    return ExitCode::done;
  }
  if (arguments.discard) {
    rotation.discard();
    print_key_result(arguments, {{"discarded", rotation.root().string()}},
                     fmt::format("{} is removed; nothing else has changed\n", rotation.root().string()),
                     header.laboratory);
    return ExitCode::done;
  }
  if (arguments.run.empty()) fail_input("key rotate: RUN is missing; accepted: the run that the model was made of");
  const auto config = rotation_config(arguments, header);
  if (arguments.dry_run) {
    print_plan(arguments, rotation, header, config, stage == Rotation::Stage::begun);
    return ExitCode::done;
  }
  if (!arguments.yes)
    fail_input(
        "nothing has been done: all keys issued so far would stop opening the model; accepted: --yes to do it, "
        "--dry-run to see what it would do");
  return with_communicator(config.dist, [&](Communicator& communicator) {
    return rotate(arguments, rotation, header, config, communicator);
  });
}

}  // namespace spankey::cli
