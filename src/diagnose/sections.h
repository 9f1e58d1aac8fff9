// The parts of a diagnosis: each measures, sets its prediction beside it, and returns figures; some add a plot.
// All are collective and return the same on every rank.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include <vector>

#include "diagnose/answer_tables.h"
#include "diagnose/diagnosed_run.h"

namespace spankey {

using DiagnosePlots = std::vector<DiagnosePlot>;

// ---- of the keys alone (diagnose_key_sections.cpp)
nlohmann::json diagnose_energy_split(DiagnoseRun& run, DiagnosePlots& plots);
nlohmann::json diagnose_key_law(DiagnoseRun& run);
nlohmann::json diagnose_multiplier(DiagnoseRun& run);

// ---- of the network (diagnose_margin_sections.cpp, diagnose_access_sections.cpp)
nlohmann::json diagnose_margin_change(DiagnoseRun& run, DiagnosePlots& plots);
nlohmann::json diagnose_margin_tail(DiagnoseRun& run, const AccessTables& access, DiagnosePlots& plots);
nlohmann::json diagnose_gradients(DiagnoseRun& run, DiagnosePlots& plots);
nlohmann::json diagnose_weights(DiagnoseRun& run);
nlohmann::json diagnose_absorption(const DiagnoseRun& run, const AccessTables& access);
nlohmann::json diagnose_separation(const AccessTables& access, DiagnosePlots& plots);
nlohmann::json diagnose_reject_bias(const DiagnoseRun& run, const AccessTables& access);  // null without rejection
nlohmann::json diagnose_acceptance(DiagnoseRun& run, DiagnosePlots& plots);

}  // namespace spankey
