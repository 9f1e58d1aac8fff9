#include <ATen/Parallel.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstdio>
#include <memory>

#include "cli/command.h"
#include "cli/number_option.h"
#include "config/names.h"
#include "config/value.h"
#include "dist/on_all_ranks.h"
#include "record/attack_record.h"
#include "record/requirement.h"
#include "record/result.h"
#include "spankey/models/named_tensor.h"
#include "train/evaluator.h"
#include "train/loaded_run.h"
#include "train/metrics.h"
#include "train/resources.h"

namespace spankey::cli {
namespace {

struct EvalArguments {
  std::string run;
  std::vector<std::string> overrides;
  std::int64_t keys = -1;
  std::vector<std::string> families;
  std::vector<double> norms;
  std::vector<std::string> required;
  bool json = false, no_secret = false;
};

std::vector<const KeyFamily*> wrong_families(const EvalArguments& arguments, const EvalConfig& config) {
  auto names = arguments.families.empty() ? config.families : arguments.families;
  if (names.size() == 1 && lower_case(names[0]) == "all") names = key_family_names();
  std::vector<const KeyFamily*> families;
  for (const auto& name : names) {
    const auto* family = &find_key_family(name, "--families");
    if (std::find(families.begin(), families.end(), family) != families.end())
      fail_input("--families: {} is named twice", family->name);
    families.push_back(family);
  }
  return families;
}

// The families that somebody without the basis can draw. One that the command line names must be among them.
std::vector<const KeyFamily*> without_basis(const EvalArguments& arguments,
                                            const std::vector<const KeyFamily*>& families, const KeyMaker& keys) {
  std::vector<std::string> accepted;
  for (const auto& name : key_family_names()) {
    try {
      keys.evaluation_wrong(0, 1, find_key_family(name));
      accepted.push_back(name);
    } catch (const Error&) {  // it is made from the basis
    }
  }
  if (accepted.empty())
    fail_input(
        "--no-secret: key.rescale = \"none\" makes wrong keys as large as valid ones; accepted: a run with its "
        "secret/, without --no-secret");
  std::vector<const KeyFamily*> drawn;
  for (const auto* family : families) {
    if (std::find(accepted.begin(), accepted.end(), family->name) != accepted.end())
      drawn.push_back(family);
    else if (std::any_of(arguments.families.begin(), arguments.families.end(),
                         [&](const std::string& name) { return same_name(name, family->name); }))
      fail_input("--no-secret --families {}: made from the secret basis; accepted: {}", family->name,
                 fmt::join(accepted, ", "));
  }
  if (drawn.empty())
    fail_input("--no-secret: eval.families = {}: all made from the secret basis; accepted: --families with some of {}",
               families.front()->name, fmt::join(accepted, ", "));
  return drawn;
}

EvaluationRequest request_of(const EvalArguments& arguments, const EvalConfig& config) {
  return {.keys = arguments.keys >= 0 ? arguments.keys : config.keys,
          .with_train_split = config.train,
          .with_valid_keys = !arguments.no_secret,
          .families = wrong_families(arguments, config),
          .norms = arguments.norms};
}

// A quantity that will not be measured is refused before anything is loaded.
std::vector<Requirement> requirements_of(const EvalArguments& arguments, const Config& config) {
  const auto requirements = parse_requirements(arguments.required);
  const bool rejects =
      config.train.twin != Twin::vanilla && find_deny_loss(config.deny.mode).reject != RejectKind::none;
  auto example = to_json(example_report(request_of(arguments, config.eval), rejects));
  example["global_step"] = 0;
  example["attacks"] = example_attack_summary();
  require_known(requirements, example);
  return requirements;
}

// Collective. Rank 0, which knows the digest of the weights, reads for all, so that a warning is said once. Null where
// no attacks tell of these weights.
nlohmann::json attacks_of(const RunDirectory& directory, const std::string& digest, Communicator& communicator) {
  const auto attacks = communicator.rank() == 0 ? read_attacks(directory, digest).dump() : std::string();
  return nlohmann::json::parse(communicator.broadcast_string(attacks, 0));
}

ExitCode evaluate(const EvalArguments& arguments, const Config& wanted, const std::vector<Requirement>& requirements,
                  Communicator& communicator) {
  const RunDirectory directory{arguments.run};
  const auto loaded = load_network(directory, arguments.overrides, communicator, place(wanted, communicator));
  const auto& config = loaded.experiment.config;
  at::set_num_threads(resolve_threads(config, communicator.node_size()));
  const auto basis = on_all_ranks(communicator, [&] {
    return arguments.no_secret ? unknown_basis(config.key.m, loaded.experiment.key_dims)
                               : load_basis_of(loaded, directory);
  });
  const bool first = communicator.rank() == 0;
  const auto digest = first ? to_hex(weights_digest(*loaded.experiment.model)) : std::string();
  const auto attacks = attacks_of(directory, digest, communicator);
  on_all_ranks(communicator, [&] {
    require_attack_figures(requirements, attacks.is_null() ? attacks : attack_summary(attacks), arguments.run);
  });
  const KeyMaker keys(config, basis);
  const Evaluator evaluator(loaded.experiment, keys, communicator);
  auto request = request_of(arguments, config.eval);
  if (arguments.no_secret)
    request.families = on_all_ranks(communicator, [&] { return without_basis(arguments, request.families, keys); });
  if (first) tell_classes(loaded.experiment);
  ProgressBar progress;
  if (first) request.progress = [&](double share) { progress.show_share("evaluation", share); };
  communicator.set_place("evaluation");
  auto json = to_json(evaluator.evaluate(request));
  if (first) progress.finish_line();
  json["global_step"] = loaded.cursor.global_step;
  json["config_hash"] = loaded.experiment.hash;
  count_attacks(json, attacks);
  // The figures are the same on every rank, and so is what becomes of them.
  if (first) {
    if (arguments.json) json["weights_sha256"] = digest;
    fmt::print("{}", arguments.json ? json.dump(2) + "\n" : access_table(json));
    std::fflush(stdout);
  }
  const auto complaint = unmet(requirements, json);
  if (!complaint.empty()) throw AgreedError(ExitCode::run_failed, first ? complaint : "");
  return ExitCode::done;
}

}  // namespace

void add_eval(CLI::App& app, Action& action) {
  auto* command = add_command(app, "eval");
  const auto arguments = std::make_shared<EvalArguments>();
  command->add_option("RUN", arguments->run, "run directory")->required();
  command->add_option("OVERRIDES", arguments->overrides,
                      "key=value, for example data.file=mnist.h5 or eval.train=true");
  command
      ->add_option("--keys", arguments->keys,
                   "correct and wrong keys, each tried on every sample; 0: a fresh key for every batch; default: "
                   "eval.keys of the run")
      ->transform(integer_between(0, most_eval_keys))
      ->default_str("");
  command
      ->add_option("--families", arguments->families,
                   fmt::format("families of wrong keys, with commas between them, or all: {}; default: eval.families "
                               "of the run",
                               fmt::join(key_family_names(), ", ")))
      ->delimiter(',')
      ->allow_extra_args(false);
  command
      ->add_option("--norm-sweep", arguments->norms,
                   "also try correct and Gaussian keys multiplied by each of these after the rescale, for example "
                   ".1,.25,.5,1,2,4")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->transform(number_between(1e-3, 1e3));
  command
      ->add_option(
          "--require", arguments->required,
          "what must hold, or the exit code is 3: QUANTITY OP NUMBER joined by and, for example "
          "\"withheld >= 0.2 and no_key.strip_accuracy < 0.15\"; quantities are the numbers of --json, and of "
          "spankey attack, as in attacks.worst_case.access <= 0.3 and attacks.price >= 60; may be given several "
          "times")
      ->allow_extra_args(false);
  command->add_flag("--no-secret", arguments->no_secret,
                    "measure what somebody without secret/ can: no key, and wrong keys that need no basis");
  command->add_flag("--json", arguments->json, "print JSON");
  end_help(*command, "eval runs/demo --keys 64 --families gaussian,near_miss");
  command->callback([arguments, &action] {
    action = [arguments] {
      const auto config = run_config(RunDirectory{arguments->run}, arguments->overrides);
      const auto requirements = requirements_of(*arguments, config);
      return with_communicator(config.dist, [&](Communicator& communicator) {
        return evaluate(*arguments, config, requirements, communicator);
      });
    };
  });
}

}  // namespace spankey::cli
