#include "diagnose/diagnose.h"

#include <fmt/format.h>

#include "base/file.h"
#include "base/version.h"
#include "diagnose/run_facts.h"
#include "dist/on_all_ranks.h"
#include "page/plot.h"

namespace spankey {
namespace {

using DrawnFigures = std::map<std::string, std::vector<Figure>>;  // by the name of their section

DrawnFigures draw(const Diagnosis& diagnosis, PlotFolder& folder) {
  DrawnFigures drawn;
  for (const auto& [section, plots] : diagnosis.plots)
    for (const auto& plot : plots)
      if (auto figure = folder.draw(plot.name, plot.plot, plot.title, plot.caption))
        drawn[section].push_back(std::move(*figure));
  return drawn;
}

Document describe(const nlohmann::json& figures, const DrawnFigures& drawn) {
  Document document;
  document.title = "Diagnostics";
  document.summary = summary_text(figures::from_json<RunFacts>(figures.at("run")));
  document.footer = fmt::format(
      "Written by spankey {} (`spankey diagnose`). All figures stand in `diagnose.json`; `docs/diagnostics.md` "
      "explains them.",
      program_version());
  for (const auto& part : section_table()) {
    const std::string name(part.name);
    auto section = part.text(figures.at(name));
    if (const auto found = drawn.find(name); found != drawn.end())
      section.blocks.insert(section.blocks.end(), found->second.begin(), found->second.end());
    if (!section.blocks.empty()) document.sections.push_back(std::move(section));
  }
  return document;
}

}  // namespace

Diagnosis diagnose(LoadedRun& loaded, const DiagnoseOptions& options, Communicator& communicator) {
  DiagnoseRun run(loaded, options, communicator);
  Diagnosis diagnosis;
  diagnosis.figures["run"] = figures::to_json(facts_of(run));
  const auto access = measure_access(run);
  for (const auto& section : section_table()) {
    const std::string name(section.name);
    auto measured = section.measure(run, access);
    diagnosis.figures[name] = std::move(measured.figures);
    diagnosis.plots[name] = std::move(measured.plots);
  }
  on_all_ranks(communicator, [&] {
    if (communicator.local_rank() == 0) run.experiment().dataset->require_unchanged();
  });
  return diagnosis;
}

Document describe_diagnosis(const nlohmann::json& figures) {
  return describe(figures, {});
}

bool write_diagnosis(const Diagnosis& diagnosis, const std::filesystem::path& folder) {
  make_writable_folder(folder);
  write_durably(folder / "diagnose.json", diagnosis.figures.dump(2) + "\n");
  PlotFolder plots(folder, /*below=*/"");
  const auto document = describe(diagnosis.figures, draw(diagnosis, plots));
  write_durably(folder / "diagnose.md", to_markdown(document));
  write_durably(folder / "diagnose.html", to_html(document, folder));
  write_durably(folder / document_file, to_json_text(document));
  return !plots.gnuplot_missing();
}

}  // namespace spankey
