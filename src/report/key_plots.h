// Tables and plots of which keys open a network, for families of wrong keys and for keys near a valid one.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "page/plot.h"
#include "report/groups.h"

namespace spankey {

// A family of wrong keys that a run was evaluated with. Its figures are those of result.json's wrong_key.
struct FamilyFigures {
  std::string name;
  nlohmann::json figures;
};
std::vector<FamilyFigures> family_figures(const nlohmann::json& result);

// A table of families by groups (mean over seeds, largest key of all seeds), with the fewer of the two as columns.
// nullopt where no run tried more than one family. Where every batch had a key of its own (eval.keys = 0) there is no
// figure of a single key.
std::optional<Table> family_table(const DataStudy& study);
std::vector<Figure> draw_families(const DataStudy& study, const std::string& prefix, PlotFolder& folder);

// The acceptance profiles of the runs that `spankey diagnose` has measured (RUN/diagnose/diagnose.json), at most six.
struct AcceptanceReport {
  std::optional<Table> table;
  std::optional<Figure> figure;
};
AcceptanceReport acceptance_report(const std::vector<const RunRecord*>& runs, const std::vector<std::string>& labels,
                                   const std::string& prefix, PlotFolder& folder);

}  // namespace spankey
