// Applies the diagnostics of the paper to a trained run. They set what the mathematics predicts beside what is
// measured.
#pragma once

#include <nlohmann/json.hpp>

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "diagnose/diagnosed_run.h"
#include "diagnose/section.h"
#include "dist/communicator.h"
#include "page/document.h"
#include "train/loaded_run.h"

namespace spankey {

struct Diagnosis {
  nlohmann::json figures;                                 // see docs/diagnostics.md
  std::map<std::string, std::vector<SectionPlot>> plots;  // by the name of their section
};

// Collective. Every rank returns the same figures, whatever the number of ranks. The network of `run` is left in
// evaluation mode, its parameters without gradients.
Diagnosis diagnose(LoadedRun& run, const DiagnoseOptions& options, Communicator& communicator);

// Describes what the figures say, without plots.
Document describe_diagnosis(const nlohmann::json& figures);

// Writes diagnose.json, the plots (data, commands and SVG), and the document with them into `folder`. The document is
// written as diagnose.md, as diagnose.html and, for `spankey report`, as page.json. Returns false where there is no
// gnuplot to draw the plots.
bool write_diagnosis(const Diagnosis& diagnosis, const std::filesystem::path& folder);

}  // namespace spankey
