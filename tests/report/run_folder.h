// Run directories that no training made: what a report reads of them, with figures that the test chooses.
#pragma once

#include <nlohmann/json.hpp>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "support/made_attacks.h"

namespace spankey::test {

struct MadeRun {
  std::string config = {};  // TOML
  double correct = 0.9, none = 0.1, wrong = 0.05, strip = 0.8, worst_key = 0.07;
  double seconds = 36.0;
  std::string data_digest = std::string(64, 'a');
  int test_samples = 1000;
  std::vector<MadeAttack> attacks = {};
  std::string attacked_weights = std::string(64, 'c');  // those of the result unless told otherwise
};

inline nlohmann::json made_key(double mean, double max, double strip) {
  const auto spread = [](double value, double top) {
    return nlohmann::json{{"mean", value}, {"sd", 0.01}, {"min", value}, {"max", top}, {"keys", 4}};
  };
  return {{"accuracy", spread(mean, max)}, {"strip_accuracy", spread(strip, strip)}, {"reject_fraction", nullptr}};
}

inline nlohmann::json made_result(const MadeRun& run) {
  return {{"no_key", {{"accuracy", run.none}, {"strip_accuracy", run.strip}, {"reject_fraction", nullptr}}},
          {"correct_key", made_key(run.correct, run.correct, run.correct)},
          {"wrong_key", made_key(run.wrong, run.worst_key, run.wrong)},
          {"majority_rate", 0.1},
          {"test_samples", run.test_samples},
          {"config_hash", "hash"},
          {"data_digest", run.data_digest},
          {"ranks", 2},
          {"threads", 3},
          {"weights_sha256", std::string(64, 'c')},
          {"seconds_total", run.seconds}};
}

inline void write_file(const std::filesystem::path& path, const std::string& text) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream(path) << text;
}

inline void write_run(const std::filesystem::path& folder, const MadeRun& run) {
  write_file(folder / "config.toml", run.config);
  write_file(folder / "result.json", made_result(run).dump(2));
  if (!run.attacks.empty())
    write_file(folder / "attack/attack.json", made_attacks(run.attacks, run.attacked_weights, run.correct).dump(2));
}

}  // namespace spankey::test
