#include <ATen/Parallel.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <memory>

#include "attack/attack_report.h"
#include "attack/budgets.h"
#include "attack/suite.h"
#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "cli/attack_trial.h"
#include "cli/command.h"
#include "cli/network_command.h"
#include "cli/number_option.h"
#include "config/names.h"
#include "dist/on_all_ranks.h"
#include "record/result.h"
#include "report/twins.h"
#include "train/loaded_run.h"
#include "train/metrics.h"
#include "train/resources.h"

namespace spankey::cli {
namespace {

struct AttackArguments {
  std::string run;
  std::vector<std::string> overrides;
  std::string preset = "quick", data = "train";
  AttackOptions options;
  std::string out, twins, weights;
  double max_seconds = 0.0;
  bool again = false, json = false, list = false;
};

// Without a run: what a budget costs in seconds depends on the network, in images it does not.
ExitCode list_attacks(Preset preset) {
  constexpr std::int64_t example_test_images = 10'000;
  MarkdownTable table({{"id", Align::left},
                       {"attack", Align::left},
                       {"knows", Align::left},
                       {"budget", Align::left},
                       {"seeds", Align::right},
                       {"images through a network", Align::right}});
  for (const Attack& attack : attacks())
    for (const auto& budget : attack.budgets(preset))
      table.row({std::string(attack.id), std::string(attack.name), knowledge_text(attack.knows), budget_text(budget),
                 fmt::format("{}", budgets::seeds(attack, budget, preset)),
                 fmt::format("{:.0f}", budgets::expected_work(attack, budget, example_test_images))});
  fmt::print("{}", table.text());
  return ExitCode::done;
}

// What valid and wrong keys give, as the run's own result has it. Nothing where there is none, or of other weights, or
// over other images than the attacks are measured on.
AttackReference reference_of(const RunDirectory& directory, const AttackedRun& run) {
  if (run.data.source() == ImageSource::heldout || !std::filesystem::exists(directory.result())) return {};
  const auto result = read_result(directory.result(), run.experiment.config);
  if (result.value("weights_sha256", "") == run.weights_sha256) return reference_of_result(result);
  log::warning("{} is of other weights than the newest checkpoint: it is not compared with",
               directory.result().string());
  return {};
}

AttackReference reference_of(const AttackArguments& arguments, const RunDirectory& directory, const AttackedRun& run) {
  auto reference = reference_of(directory, run);
  if (arguments.twins.empty()) return reference;
  const auto twins = find_twins(run.experiment.config, run.experiment.dataset->info().digest, arguments.twins);
  reference.vanilla = twins.vanilla;
  reference.noise = twins.noise;
  reference.fixed_key = twins.fixed_key;
  if (twins.vanilla.is_null())
    log::warning("--twins {}: no finished run there is the vanilla twin of {}, so its utility cost is not known",
                 arguments.twins, directory.root.string());
  return reference;
}

ExitCode run_attack(const AttackArguments& arguments, Communicator& communicator) {
  const RunDirectory directory{arguments.run};
  const auto wanted = on_all_ranks(communicator, [&] { return run_config(directory, arguments.overrides); });
  auto network = load_network(directory, arguments.overrides, communicator, place(wanted, communicator));
  if (const auto weights = read_weights(arguments.weights, communicator))
    on_all_ranks(communicator, [&] { load_weights(weights->tensors, *network.experiment.model, weights->file); });
  at::set_num_threads(resolve_threads(network.experiment.config, communicator.node_size()));
  const auto source = arguments.data == to_string(ImageSource::heldout) ? ImageSource::heldout : ImageSource::train;
  const auto run = on_all_ranks(communicator, [&] {
    std::optional<Basis> basis;
    if (std::filesystem::exists(directory.basis())) basis = load_basis_of(network, directory);
    return make_attacked_run(std::move(network.experiment), std::move(basis), source);
  });
  const auto plan = on_all_ranks(communicator, [&] { return plan_attacks(arguments.options, run); });
  const bool first = communicator.rank() == 0;
  const auto reference =
      on_all_ranks(communicator, [&] { return first ? reference_of(arguments, directory, run) : AttackReference(); });
  const auto folder = arguments.out.empty() ? directory.attack() : std::filesystem::path(arguments.out);
  const auto lease = take_attack_folder(folder, communicator);
  ProgressBar progress;
  SuiteOptions options{.again = arguments.again, .max_seconds = arguments.max_seconds, .lease = lease.get()};
  if (first) options.progress = [&](double share) { progress.show_share("attacks", share); };
  const auto suite = run_suite(run, plan, folder, communicator, options);
  if (first) progress.finish_line();
  if (!suite.complete) {
    if (first)
      log::info("stopped as asked: {} of {} units are done, and the same command goes on from there", suite.done,
                plan.units.size());
    return ExitCode::requeue;
  }
  on_all_ranks(communicator, [&] {
    if (!first) return;
    run.experiment.dataset->require_unchanged();
    const auto report = attack_report(run, plan, suite.outcomes, reference);
    if (!write_attack_report(report, folder))
      log::warning("gnuplot is not installed: {} holds the data and commands of the plots, but no pictures",
                   folder.string());
    fmt::print("{}", arguments.json ? report.dump(2) + "\n" : attack_screen(report));
  });
  return ExitCode::done;
}

Preset preset_named(const std::string& name) {
  constexpr auto words = enum_words(Preset{});
  return static_cast<Preset>(std::find(words.begin(), words.end(), name) - words.begin());
}

AttackOptions options_of_trial(const SweepAttack& attack) {
  AttackOptions options;
  options.preset = preset_named(attack.preset);
  options.ids = attack.ids;
  options.images = attack.images;
  options.seeds = attack.seeds;
  return options;
}

ExitCode check_and_attack(AttackArguments& arguments) {
  arguments.options.preset = preset_named(arguments.preset);
  if (arguments.list) return list_attacks(arguments.options.preset);
  if (arguments.run.empty()) fail_input("attack: RUN is missing; accepted: the directory of a run");
  if (!arguments.weights.empty() && arguments.out.empty())
    fail_input("--weights {}: --out is missing; accepted: a folder of their own", arguments.weights);
  for (const auto& id : arguments.options.ids) find_attack(id);  // before anything is loaded
  const auto config = run_config(RunDirectory{arguments.run}, arguments.overrides);
  return with_communicator(config.dist,
                           [&](Communicator& communicator) { return run_attack(arguments, communicator); });
}

}  // namespace

void require_attack(const SweepAttack& attack, const std::string& place) {
  constexpr auto presets = enum_words(Preset{});
  if (std::find(presets.begin(), presets.end(), attack.preset) == presets.end())
    fail_unknown_name(fmt::format("{}: preset =", place), attack.preset, presets);
  try {
    require_attack_options(options_of_trial(attack));
  } catch (const Error& error) {
    throw Error(error.code(), fmt::format("{}: {}", place, error.what()));
  }
}

double attack_images(const SweepAttack& attack, std::int64_t train_samples, std::int64_t test_samples) {
  return expected_images(options_of_trial(attack), train_samples, test_samples);
}

ExitCode attack_trial(const std::filesystem::path& run, const SweepAttack& attack, double max_seconds,
                      Communicator& communicator) {
  AttackArguments arguments;
  arguments.run = run.string();
  arguments.options = options_of_trial(attack);
  arguments.max_seconds = max_seconds;
  return run_attack(arguments, communicator);
}

void add_attack(CLI::App& app, Action& action) {
  auto* command = add_command(app, "attack");
  const auto arguments = std::make_shared<AttackArguments>();
  auto& options = arguments->options;
  constexpr auto presets = enum_words(Preset{});
  command->add_option("RUN", arguments->run, "run directory; secret/ may be missing");
  command->add_option("OVERRIDES", arguments->overrides, "key=value, for example data.file=mnist.h5");
  command->add_option("--preset", arguments->preset, "what is tried, with which budgets")
      ->check(CLI::IsMember(std::vector<std::string>(presets.begin(), presets.end())));
  command->add_option("--attacks", options.ids, "ids with commas between them; default: all (see --list)")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->default_str("");
  command
      ->add_option("--images", options.images, "numbers of images in place of the preset's, with commas between them")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->transform(integer_between(1, std::int64_t{1} << 30))
      ->default_str("");
  command->add_option("--keys", options.keys, "keys of each row that tries a number of keys, in place of the preset's")
      ->transform(integer_between(1, std::int64_t{1} << 20))
      ->default_str("");
  command
      ->add_option("--leaked", options.leaked,
                   "numbers of leaked keys in place of the preset's, with commas between them")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->transform(integer_between(1, 10'000))
      ->default_str("");
  command->add_option("--seeds", options.seeds, "attack seeds; default: 3, and 1 for many images of the quick preset")
      ->transform(integer_between(1, most_attack_seeds))
      ->default_str("");
  command
      ->add_option("--data", arguments->data,
                   "the attacker's images: of the training split, or of one half of the test split, whose other half "
                   "then is what counts")
      ->check(CLI::IsMember({"train", "heldout"}));
  command
      ->add_option("--out", arguments->out,
                   "where attack.html, attack.json, attack.md, plots and units/ go; default: RUN/attack")
      ->default_str("");
  command->add_option("--twins", arguments->twins, "folder with finished twins of the run, for its utility cost")
      ->default_str("");
  command
      ->add_option("--weights", arguments->weights,
                   "attack these weights of the same network in place of the run's: a safetensors file or a model.skm; "
                   "needs --out")
      ->default_str("");
  command->add_flag("--force", arguments->again, "measure again what is on disk");
  command->add_flag("--list", arguments->list, "print the attacks of the preset and what each knows, and end");
  command->add_flag("--json", arguments->json, "print JSON");
  end_help(*command, "attack runs/demo --attacks O1,K5,W2 --images 10,60",
           "Every row is explained in docs/attacks.md.");
  command->callback([arguments, &action] { action = [arguments] { return check_and_attack(*arguments); }; });
}

}  // namespace spankey::cli
