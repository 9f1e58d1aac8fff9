#include <ATen/Parallel.h>
#include <nlohmann/json.hpp>

#include <memory>

#include "base/log.h"
#include "cli/command.h"
#include "cli/number_option.h"
#include "diagnose/diagnose.h"
#include "page/document.h"
#include "train/resources.h"

namespace spankey::cli {
namespace {

struct DiagnoseArguments {
  std::string run;
  std::vector<std::string> overrides;
  DiagnoseOptions options;
  std::string out;
  bool json = false;
};

ExitCode run_diagnose(const DiagnoseArguments& arguments, const Config& wanted, Communicator& communicator) {
  const RunDirectory directory{arguments.run};
  auto loaded = load_run(directory, arguments.overrides, communicator, place(wanted, communicator));
  at::set_num_threads(resolve_threads(loaded.experiment.config, communicator.node_size()));
  const auto diagnosis = diagnose(loaded, arguments.options, communicator);
  if (communicator.rank() != 0) return ExitCode::done;
  const auto folder = arguments.out.empty() ? directory.root / "diagnose" : std::filesystem::path(arguments.out);
  if (!write_diagnosis(diagnosis, folder))
    log::warning("gnuplot is not installed: {} holds the data and commands of the plots, but no pictures",
                 folder.string());
  fmt::print("{}", arguments.json
                       ? diagnosis.figures.dump(2) + "\n"
                       : to_markdown(describe_diagnosis(diagnosis.figures)) +
                             fmt::format("\nwritten to {}: diagnose.html, diagnose.json, diagnose.md, plots\n",
                                         folder.string()));
  return ExitCode::done;
}

}  // namespace

void add_diagnose(CLI::App& app, Action& action) {
  auto* command = add_command(app, "diagnose");
  const auto arguments = std::make_shared<DiagnoseArguments>();
  command->add_option("RUN", arguments->run, "run directory")->required();
  command->add_option("OVERRIDES", arguments->overrides, "key=value, for example data.file=mnist.h5");
  command->add_option("--samples", arguments->options.samples, "test samples to use, spread evenly over the split")
      ->transform(integer_between(1, std::int64_t{1} << 30));
  command->add_option("--keys", arguments->options.keys, "number of valid and of wrong keys")
      ->transform(integer_between(2, std::int64_t{1} << 20));
  command
      ->add_option("--out", arguments->out,
                   "where diagnose.html, diagnose.json, diagnose.md and the plots go; default: RUN/diagnose")
      ->default_str("");
  command->add_flag("--json", arguments->json, "print JSON");
  end_help(*command, "diagnose runs/demo --keys 64", "Every figure is explained in docs/diagnostics.md.");
  command->callback([arguments, &action] {
    action = [arguments] {
      const auto config = run_config(RunDirectory{arguments->run}, arguments->overrides);
      return with_communicator(
          config.dist, [&](Communicator& communicator) { return run_diagnose(*arguments, config, communicator); });
    };
  });
}

}  // namespace spankey::cli
