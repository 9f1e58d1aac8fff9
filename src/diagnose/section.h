// A section of a diagnosis measures something of a run and describes the figures. A section is one file in
// diagnose/sections and one line of diagnose/sections.inc.
#pragma once

#include <nlohmann/json.hpp>

#include <string>
#include <string_view>
#include <vector>

#include "diagnose/answer_tables.h"
#include "diagnose/diagnosed_run.h"
#include "diagnose/figures.h"
#include "page/document.h"
#include "page/plot.h"

namespace spankey {

struct SectionPlot {
  std::string name;  // file stem
  std::string title, caption;
  Plot plot;
};

struct Measured {
  nlohmann::json figures;  // null where the run has nothing to measure
  std::vector<SectionPlot> plots;
};

struct DiagnosisSection {
  std::string_view name;  // of its figures in diagnose.json
  // Collective. Returns the same on every rank.
  Measured (*measure)(DiagnoseRun& run, const AccessTables& access);
  // Uses the figures alone. A section without blocks is left out of the page.
  Section (*text)(const nlohmann::json& figures);
};

// Returns all sections, in the order of the page.
const std::vector<DiagnosisSection>& section_table();

// The height of a plot in pixels.
inline constexpr int section_plot_height = 420;

#define SPANKEY_DIAGNOSIS_SECTION(name)                                  \
  Measured measure_##name(DiagnoseRun& run, const AccessTables& access); \
  Section name##_text(const nlohmann::json& figures);
#include "diagnose/sections.inc"
#undef SPANKEY_DIAGNOSIS_SECTION

}  // namespace spankey
