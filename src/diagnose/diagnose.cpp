#include "diagnose/diagnose.h"

#include <algorithm>

#include "base/file.h"
#include "diagnose/sections.h"
#include "train/on_all_ranks.h"

namespace spankey {

Diagnosis diagnose(LoadedRun& loaded, const DiagnoseOptions& options, Communicator& communicator) {
  DiagnoseRun run(loaded, options, communicator);
  const auto& config = run.config();
  Diagnosis diagnosis;
  auto& figures = diagnosis.figures;
  auto& plots = diagnosis.plots;
  figures["run"] = {{"config_hash", run.experiment().hash},
                    {"global_step", run.cursor().global_step},
                    {"model", config.model.name},
                    {"deny", config.deny.mode},
                    {"inject", to_string(config.key.inject)},
                    {"gamma", config.key.gamma},
                    {"m", config.key.m},
                    {"alpha", to_string(config.key.alpha)},
                    {"layers", config.key.layers},
                    {"wrong_key_std", run.wrong_std()},
                    {"samples", run.samples()},
                    {"test_samples", run.experiment().dataset->test().size},
                    {"keys", run.key_count()}};
  figures["energy_split"] = diagnose_energy_split(run, plots);
  figures["key_law"] = diagnose_key_law(run);
  figures["multiplier"] = diagnose_multiplier(run);
  const auto access = measure_access(run);
  figures["absorption"] = diagnose_absorption(run, access);
  figures["separation"] = diagnose_separation(access, plots);
  figures["reject_bias"] = diagnose_reject_bias(run, access);
  figures["margin_tail"] = diagnose_margin_tail(run, access, plots);
  figures["margin_change"] = diagnose_margin_change(run, plots);
  figures["gradients"] = diagnose_gradients(run, plots);
  figures["weights"] = diagnose_weights(run);
  figures["acceptance"] = diagnose_acceptance(run, plots);
  on_all_ranks(communicator, [&] {
    if (communicator.local_rank() == 0) run.experiment().dataset->require_unchanged();
  });
  figures = nlohmann::json::parse(figures.dump());  // what does not exist becomes null: NaN equals nothing, not itself
  return diagnosis;
}

bool write_diagnosis(const Diagnosis& diagnosis, const std::filesystem::path& folder) {
  make_writable_folder(folder);
  write_durably(folder / "diagnose.json", diagnosis.figures.dump(2) + "\n");
  write_durably(folder / "diagnose.md", diagnosis_markdown(diagnosis.figures));
  bool drawn = true;
  for (const auto& plot : diagnosis.plots)
    drawn = write_plot(folder / plot.name, "set title '" + plot.title + "'\n" + plot.commands, plot.blocks) && drawn;
  return drawn;
}

}  // namespace spankey
