// The diagnostics of the paper on a trained run: what the mathematics predicts beside what is measured.
#pragma once

#include <nlohmann/json.hpp>

#include <filesystem>
#include <string>
#include <vector>

#include "diagnose/diagnosed_run.h"
#include "dist/communicator.h"
#include "train/loaded_run.h"

namespace spankey {

struct Diagnosis {
  nlohmann::json figures;  // docs/diagnostics.md; what does not exist is null
  std::vector<DiagnosePlot> plots;
};

// Collective; every rank returns the same figures, whatever the number of ranks. The network of `run` is left in
// evaluation mode, its parameters without gradients.
Diagnosis diagnose(LoadedRun& run, const DiagnoseOptions& options, Communicator& communicator);

// The figures as tables, in Markdown.
std::string diagnosis_markdown(const nlohmann::json& figures);

// diagnose.json, diagnose.md and the plots (data, commands and SVG) in `folder`. Returns false where there is no
// gnuplot to make pictures of the plots.
bool write_diagnosis(const Diagnosis& diagnosis, const std::filesystem::path& folder);

}  // namespace spankey
