#include "report/twins.h"

#include <map>
#include <vector>

#include "base/statistics.h"
#include "config/entries.h"
#include "report/run_record.h"

namespace spankey {
namespace {

using Keys = std::map<std::string, std::string>;

Keys keys_shared_with(Twin twin, const Config& config) {
  Keys keys;
  for (const auto& entry : entries(config)) {
    const bool free = entry.key == "run.seed" || entry.key == "train.twin" ||
                      (twin == Twin::vanilla && (entry.key.starts_with("key.") || entry.key.starts_with("deny.")));
    if (entry.hashed && !free) keys[entry.key] = entry.canonical;
  }
  return keys;
}

// What tells most of each twin: its own accuracy, whether noise opens it, what one key gives.
const char* figure_of(Twin twin) {
  if (twin == Twin::vanilla) return "no_key.accuracy";
  return twin == Twin::noise ? "wrong_key.accuracy" : "correct_key.accuracy";
}

nlohmann::json accuracy_of(Twin twin, const Config& config, const std::string& data_digest,
                           const RunCollection& collection) {
  const auto wanted = keys_shared_with(twin, config);
  std::vector<double> values;
  for (const auto& run : collection.runs)
    if (run.status == RunStatus::done && run.config.train.twin == twin && run.data_digest == data_digest &&
        keys_shared_with(twin, run.config) == wanted)
      values.push_back(*number_at(run.result, figure_of(twin)));
  if (values.empty()) return nullptr;
  const auto all = summarise(values);
  return {{"accuracy",
           {{"mean", all.mean},
            {"sd", values.size() > 1 ? nlohmann::json(all.sd) : nlohmann::json()},
            {"runs", values.size()}}}};
}

}  // namespace

Twins find_twins(const Config& config, const std::string& data_digest, const std::filesystem::path& directory) {
  const auto collection = collect_runs({directory});
  const auto accuracy = [&](Twin twin) { return accuracy_of(twin, config, data_digest, collection); };
  return {accuracy(Twin::vanilla), accuracy(Twin::noise), accuracy(Twin::fixed_key)};
}

}  // namespace spankey
