// Finds the twins of a run: networks that differ from it in train.twin alone, for what the lock costs.
#pragma once

#include <nlohmann/json.hpp>

#include <filesystem>
#include <string>

#include "config/config.h"

namespace spankey {

// Each is null, or {"accuracy": {"mean", "sd", "runs"}} over the finished runs that are this twin. `vanilla` is
// measured without a key, `noise` with wrong keys, `fixed_key` with its key.
struct Twins {
  nlohmann::json vanilla, noise, fixed_key;
};

// Looks through the runs of `directory` (see collect_runs) that were trained on data of this digest. run.seed may
// differ, and for the vanilla twin key.* and deny.*, which it does not use. Throws the errors of collect_runs().
Twins find_twins(const Config& config, const std::string& data_digest, const std::filesystem::path& directory);

}  // namespace spankey
