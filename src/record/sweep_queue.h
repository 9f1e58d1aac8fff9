// What Slurm says of the jobs that were submitted for a sweep.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace spankey {

struct SweepQueue {
  bool submitted = false;                     // whether jobs of this sweep are recorded at all
  std::map<std::string, std::int64_t> jobs;   // number of array elements by state, such as "pending"
  std::map<std::string, std::int64_t> waits;  // of the pending ones, by Slurm's reason, such as "Resources"
  std::string fault;                          // why Slurm could not be asked

  // Returns text such as "3 pending (Resources), 2 running", or empty where nothing was submitted.
  std::string text() const;
};

// Counts the lines "STATE|REASON" that squeue prints.
SweepQueue parse_squeue(std::string_view printed);

// Asks squeue about the jobs of the sweep in D, whose ids `sweep run --executor slurm` has left in D/slurm/jobs. Waits
// a few seconds at most.
SweepQueue ask_queue(const std::filesystem::path& directory);

// Returns null where nothing was submitted, else {"jobs", "waits"} and, where there is one, "fault".
nlohmann::json to_json(const SweepQueue& queue);

}  // namespace spankey
