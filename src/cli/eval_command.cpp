#include <ATen/Parallel.h>
#include <nlohmann/json.hpp>

#include <memory>

#include "cli/command.h"
#include "train/evaluator.h"
#include "train/loaded_run.h"

namespace spankey::cli {
namespace {

struct Arguments {
  std::string run;
  std::vector<std::string> overrides;
  std::int64_t keys = -1;
  bool json = false;
};

ExitCode evaluate(const Arguments& arguments, Communicator& communicator) {
  const RunDirectory directory{arguments.run};
  auto loaded = load_run(directory, arguments.overrides, communicator);
  const auto& config = loaded.experiment.config;
  at::set_num_threads(resolve_threads(config, communicator.local_size()));
  const KeyMaker keys(config.key, config.run.compat, loaded.basis, static_cast<std::uint64_t>(config.run.seed));
  const Evaluator evaluator(loaded.experiment, keys, communicator);
  const auto report = evaluator.evaluate(arguments.keys >= 0 ? arguments.keys : config.eval.keys, config.eval.train);
  if (communicator.rank() != 0) return ExitCode::done;
  auto json = to_json(report);
  json["global_step"] = loaded.cursor.global_step;
  json["config_hash"] = loaded.experiment.hash;
  fmt::print("{}", arguments.json ? json.dump(2) + "\n" : access_table(json));
  return ExitCode::done;
}

}  // namespace

void add_eval(CLI::App& app, Action& action) {
  auto* command = app.add_subcommand("eval", "Measure what the keys of a trained run open");
  const auto arguments = std::make_shared<Arguments>();
  command->add_option("RUN", arguments->run, "run directory")->required();
  command->add_option("OVERRIDES", arguments->overrides,
                      "key=value, for example data.file=mnist.h5 or eval.train=true");
  command
      ->add_option("--keys", arguments->keys,
                   "correct and wrong keys, each tried on every sample; 0: a fresh key for every batch; default: "
                   "eval.keys of the run")
      ->check(CLI::Range(std::int64_t{0}, std::int64_t{1} << 30))
      ->default_str("");
  command->add_flag("--json", arguments->json, "print JSON");
  command->callback([arguments, &action] {
    action = [arguments] {
      const auto config = load_config(RunDirectory{arguments->run}.config(), arguments->overrides);
      return with_communicator(config.dist,
                               [&](Communicator& communicator) { return evaluate(*arguments, communicator); });
    };
  });
}

}  // namespace spankey::cli
