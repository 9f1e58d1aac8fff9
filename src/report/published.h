// Figures that others have published, for comparison with ours.
//
// A file of published figures (configs/paper/published.toml) is in the folder of the configurations that they belong
// to.
//   source = "where the figures come from"
//   [04_mul]                              # configuration: 04_mul.toml in the same folder
//   row = "04 mul, 100 epochs"            # name of the published row; a list where one run was published several times
//   test_samples = 10000                  # of the data set that they were measured on
//   majority_rate = 0.1                   # likewise; may be left out
//   correct_key.accuracy = 0.9039         # places as in result.json; a list with a value for each name
//   train.no_key.accuracy = 0.8311
//   [04_mul.accept]                       # acceptance bands
//   correct_key.accuracy = 0.015          # within so much of the published mean
//   [04_mul.at_least]
//   wrong_key.reject_fraction = 0.98
#pragma once

#include <nlohmann/json_fwd.hpp>

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "config/config.h"

namespace spankey {

struct PublishedRow {
  std::string name;                 // stem of the configuration
  std::vector<std::string> titles;  // names of the published rows, at least one
  Config config;
  double test_samples = 0.0, majority_rate = 0.0;      // properties of the data set
  std::map<std::string, std::vector<double>> figures;  // by place in result.json, a value for each title
  std::map<std::string, double> accept, at_least;      // also by place in result.json
};

struct PublishedTable {
  std::string source;
  std::vector<PublishedRow> rows;
};

struct PublishedMatch {
  const PublishedRow* row = nullptr;
  std::vector<std::string> differences;  // from the published configuration to ours, as "train.epochs: 20 -> 5"
};

// Reads such a file. Error(bad_input) names the file, the key and what is accepted. A published row stands in it once.
PublishedTable load_published(const std::filesystem::path& file);

// Finds configs/paper/published.toml in the current folder, in the source tree or in the installation.
std::optional<std::filesystem::path> find_published();

// Finds the row whose configuration differs from `config` in nothing that changes what is measured, and that was
// measured on data of the same size and class balance. Seeds, ranks, the number of keys tried, further families of them
// and the times of evaluation may differ. Without such a row it returns the one whose name is run.name, with the
// differences.
PublishedMatch match_published(const PublishedTable& table, const Config& config, const nlohmann::json& result);

}  // namespace spankey
