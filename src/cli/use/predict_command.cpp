#include <ATen/Parallel.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <memory>

#include "base/error.h"
#include "base/standard_streams.h"
#include "base/text.h"
#include "cli/command.h"
#include "cli/key/key_arguments.h"
#include "cli/key/passphrase.h"
#include "cli/network_command.h"
#include "cli/number_option.h"
#include "dist/on_all_ranks.h"
#include "keyring/key_facts.h"
#include "keyring/secret_file.h"
#include "predict/open_network.h"
#include "predict/predict.h"
#include "predict/requests.h"
#include "runtime/admit_key.h"
#include "spankey/keys/basis.h"
#include "train/metrics.h"
#include "train/placement.h"
#include "train/resources.h"

namespace spankey::cli {
namespace {

struct PredictArguments {
  std::string model;
  std::vector<std::string> overrides;
  std::string key, revoked, recipient;
  PassphraseSource passphrase;
  std::string images, split = "test", device = "auto";
  std::int64_t top = 1;
  bool json = false, csv = false, from_stdin = false;

  PredictionFormat format() const {
    if (json || from_stdin) return PredictionFormat::json;
    return csv ? PredictionFormat::csv : PredictionFormat::text;
  }
};

UserKey admit(const PredictArguments& arguments, const OpenedNetwork& opened) {
  SecretBytes passphrase;
  RecipientPair recipient;
  KeyRequest request{.key = arguments.key, .revoked = arguments.revoked};
  const auto seal = seal_of(arguments.key);
  if (seal == KeySeal::passphrase) {
    passphrase = read_passphrase(arguments.passphrase, arguments.key);
    request.passphrase = &passphrase;
  }
  if (seal == KeySeal::recipient) {
    if (arguments.recipient.empty())
      fail_input("{}: the key is sealed to a person; accepted: --recipient NAME.sec", arguments.key);
    passphrase = read_passphrase(arguments.passphrase, arguments.recipient);
    const auto bytes = read_secret_file(arguments.recipient, std::size_t{1} << 20);
    recipient = read_recipient_secret(bytes.bytes(), passphrase, arguments.recipient);
    request.recipient = &recipient;
  }
  return admit_key(request, {.model_id = opened.model_id, .owner = opened.owner}, current_time());
}

// What is told on standard error before the first answer.
std::string about_the_key(const OpenedNetwork& opened, const UserKey* key) {
  const auto& description = opened.description;
  if (description.sites.empty()) return "this network takes no keys: anybody gets these answers";
  if (key == nullptr)
    return fmt::format("no key: these are the answers that anybody gets who has none ({})",
                       description.reject() != RejectKind::none
                           ? fmt::format("deny loss {}: the network was taught to reject", description.deny_mode)
                       : description.deny_mode == "none"
                           ? "no deny loss: the network was not taught to refuse"
                           : fmt::format("deny loss {}: the network was taught to be useless", description.deny_mode));
  return fmt::format("{}{}", key_text(*key),
                     opened.owner ? "" : "; a run does not say who its owner is, so that any signature counts");
}

// Collective. Gives the network the key that the arguments name, and tells of it. One rank opens the key, so that one
// passphrase is asked for. No copy of it stays behind.
void use_key(const PredictArguments& arguments, const OpenedNetwork& opened, GatedNetwork& network,
             Communicator& communicator) {
  const auto& sites = opened.description.sites;
  const bool first = communicator.rank() == 0, keyed = !arguments.key.empty();
  auto vectors = secret_matrix(1, keyed ? key_elements(sites) : 0);
  auto* values = vectors.mutable_data_ptr<float>();
  on_all_ranks(communicator, [&] {
    if (!first) return;
    UserKey key;
    if (keyed) {
      key = admit(arguments, opened);
      network.use_key(key.sites, key.vectors.floats(), arguments.key);
      std::copy(key.vectors.floats().begin(), key.vectors.floats().end(), values);
    }
    standard_streams::complain(about_the_key(opened, keyed ? &key : nullptr));
    if (keyed && !arguments.revoked.empty())
      standard_streams::complain(fmt::format("it is not revoked; {}", worth_of_a_revocation));
  });
  if (!keyed) return;
  communicator.broadcast(vectors, 0);
  if (!first) network.use_key(sites, {values, static_cast<std::size_t>(vectors.numel())}, arguments.key);
}

std::string summary(const PredictionCounts& counts, bool labels) {
  const auto share = [&](std::int64_t count) {
    return fmt::format("{} ({:.4f})", count, static_cast<double>(count) / static_cast<double>(counts.samples));
  };
  auto text = fmt::format("{}, {} rejected", counted(counts.samples, "sample"), share(counts.rejected));
  if (labels)
    text += fmt::format("; {} answered with the label, {} with the rejection ignored", share(counts.right),
                        share(counts.strip));
  return text;
}

void print_now(const std::string& text) {
  if (text.empty()) return;
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

ExitCode predict_with(const PredictArguments& arguments, Config config, Communicator& communicator) {
  auto& device = config.train.device;
  device = arguments.device == "cpu" ? Device::cpu : arguments.device == "cuda" ? Device::cuda : Device::auto_;
  at::set_num_threads(resolve_threads(config, communicator.node_size()));
  const auto opened = open_network(arguments.model, arguments.overrides, communicator);
  GatedNetwork network(opened.description, opened.model, place(config, communicator).device);
  on_all_ranks(communicator, [&] {
    if (arguments.from_stdin && communicator.size() > 1)
      fail_input("--stdin: {} ranks; accepted: one process", communicator.size());
  });
  const auto samples = arguments.from_stdin ? nullptr
                                            : open_samples(arguments.images, arguments.split == "train",
                                                           network.description(), communicator);
  use_key(arguments, opened, network, communicator);
  const bool first = communicator.rank() == 0;
  if (!samples) {
    const PredictionWriter writer(arguments.format(), arguments.top, /*labels=*/false, network.description());
    answer_requests(STDIN_FILENO, network, writer, arguments.top, print_now);
    return ExitCode::done;
  }
  const PredictionWriter writer(arguments.format(), arguments.top, samples->has_labels(), network.description());
  ProgressBar progress;
  PredictRequest request{.top = arguments.top, .print = print_now};
  if (first && !isatty(STDOUT_FILENO))
    request.progress = [&](double share) { progress.show_share("prediction", share); };
  communicator.set_place("prediction");
  const auto counts = predict(network, *samples, writer, request, communicator);
  if (first) {
    progress.finish_line();
    standard_streams::complain(summary(counts, samples->has_labels()));
    if (counts.stopped)
      standard_streams::complain(fmt::format("stopped as asked: the first {} of {} are answered", counts.samples,
                                             counted(samples->size(), "sample")));
  }
  return counts.stopped ? ExitCode::requeue : ExitCode::done;
}

void add_options(CLI::App& command, PredictArguments& arguments) {
  command.add_option("MODEL", arguments.model, "model.skm, or a run directory")->required();
  command.add_option("OVERRIDES", arguments.overrides, "key=value for a run, for example data.file=mnist.h5");
  command.add_option("--key", arguments.key, "user.skk; without it: what the network says to anybody");
  command.add_option("--revoked", arguments.revoked, "revoked.skl, the list of keys that are no longer accepted");
  command.add_option("--passphrase-file", arguments.passphrase.file, "what opens a sealed key; default: the terminal");
  command.add_option("--passphrase-fd", arguments.passphrase.descriptor, "an open descriptor in place of a file")
      ->transform(integer_between(0, 1 << 20))
      ->default_str("");
  command.add_option("--recipient", arguments.recipient, "NAME.sec, for a key that is sealed to a person");
  auto* images = command.add_option("--images", arguments.images,
                                    "a JPEG or PNG file, a folder of them, or a data set (*.h5, builtin:glyphs)");
  command.add_option("--split", arguments.split, "which split of a data set")->check(CLI::IsMember({"test", "train"}));
  command.add_option("--top", arguments.top, "how many classes to print")->transform(integer_between(1, 1 << 16));
  auto* json = command.add_flag("--json", arguments.json, "one JSON object a line");
  command.add_flag("--csv", arguments.csv, "comma-separated, with a head line")->excludes(json);
  command.add_option("--device", arguments.device, "where the network runs")
      ->check(CLI::IsMember({"auto", "cpu", "cuda"}));
  command
      .add_flag("--stdin", arguments.from_stdin,
                "answer requests on standard input with lines of JSON: u32 length (little-endian), then a PNG or JPEG "
                "file, uint8 pixels (C, H, W) or float32 values")
      ->excludes(images);
}

}  // namespace

void add_predict(CLI::App& app, Action& action) {
  auto* command = add_command(app, "predict");
  const auto arguments = std::make_shared<PredictArguments>();
  add_options(*command, *arguments);
  end_help(
      *command, "predict owner/model.skm --key alice.skk --images pictures --top 3",
      "Answers go to standard output in the order of the samples, everything else to standard error. The classes "
      "are ranked without the reject output. A key that is refused ends the command with exit code 2. A signal ends "
      "it after the batch at hand with exit code 75.");
  command->callback([arguments, &action] {
    action = [arguments] {
      if (arguments->images.empty() && !arguments->from_stdin)
        fail_input("predict: --images is missing; accepted: --images FILE|DIR|DATASET.h5, or --stdin");
      if (arguments->key.empty() && !(arguments->revoked + arguments->recipient).empty())
        fail_input("predict: {} is given, and --key is not; accepted: --key USER.skk",
                   arguments->revoked.empty() ? "--recipient" : "--revoked");
      auto config = config_of_network(arguments->model, arguments->overrides);
      return with_communicator(
          config.dist, [&](Communicator& communicator) { return predict_with(*arguments, config, communicator); });
    };
  });
}

}  // namespace spankey::cli
