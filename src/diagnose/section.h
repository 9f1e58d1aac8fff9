// One section of a diagnosis: what it measures of a run, and what it says about the figures. A section is one file in
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
  // Knows the figures alone. A section without blocks is left out of the page.
  Section (*text)(const nlohmann::json& figures);
};

// In the order of the page.
const std::vector<DiagnosisSection>& section_table();

// Pixels of a plot.
inline constexpr int section_plot_height = 420;

#define SPANKEY_DIAGNOSIS_SECTION(name)                                  \
  Measured measure_##name(DiagnoseRun& run, const AccessTables& access); \
  Section name##_text(const nlohmann::json& figures);
#include "diagnose/sections.inc"
#undef SPANKEY_DIAGNOSIS_SECTION

}  // namespace spankey
