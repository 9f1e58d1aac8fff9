#include "sweep/slurm_executor.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <fstream>
#include <sstream>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "base/process.h"
#include "base/run_program.h"

namespace spankey {
namespace {

constexpr std::chrono::seconds patience{120};  // Slurm's own commands retry while the controller is busy

std::filesystem::path jobs_file(const std::filesystem::path& directory) {
  return directory / "slurm" / "jobs";
}

// Returns what a command of Slurm prints. Throws Error(bad_input) with its own words where it fails.
std::string slurm(const std::vector<std::string>& command) {
  const auto outcome = run_program(command, patience);
  if (outcome.missing())
    fail_input("--executor slurm: {} is not installed here; accepted: local, mpi", command.front());
  if (outcome.timed_out) fail_run("{} has not answered within {} s", command.front(), patience.count());
  if (outcome.exit_code != 0) fail_input("{} refused: {}", command.front(), outcome.complaint());
  return outcome.out;
}

std::int64_t max_array_size() {
  std::istringstream config(slurm({"scontrol", "show", "config"}));
  constexpr std::int64_t default_size = 1001;
  for (std::string line; std::getline(config, line);) {
    const auto equals = line.find('=');
    if (!line.starts_with("MaxArraySize") || equals == std::string::npos) continue;
    const auto digits = line.find_first_of("0123456789", equals);
    std::int64_t size = default_size;
    if (digits != std::string::npos) std::from_chars(line.data() + digits, line.data() + line.size(), size);
    return std::max<std::int64_t>(1, size);
  }
  return default_size;
}

std::filesystem::path find_script(const std::filesystem::path& wanted) {
  std::error_code error;
  if (!wanted.empty()) {
    if (std::filesystem::exists(wanted, error)) return std::filesystem::absolute(wanted);
    fail_input("--sbatch {}: no such file; accepted: a copy of launch/sweep.sbatch", wanted.string());
  }
  for (const auto& start : {program_path(), std::filesystem::current_path() / "here"}) {
    for (auto folder = start.parent_path(); folder.has_relative_path(); folder = folder.parent_path()) {
      const auto script = folder / "launch" / "sweep.sbatch";
      if (std::filesystem::exists(script, error)) return script;
    }
  }
  fail_input("launch/sweep.sbatch is not found above {}; accepted: --sbatch FILE", program_path().string());
}

}  // namespace

std::vector<std::int64_t> array_sizes(std::int64_t workers, std::int64_t max_array_size) {
  std::vector<std::int64_t> sizes;
  for (std::int64_t left = workers; left > 0; left -= sizes.back()) sizes.push_back(std::min(left, max_array_size));
  return sizes;
}

std::vector<std::string> submit_to_slurm(const SweepPlan& plan, std::int64_t waiting, const SlurmOptions& options) {
  const auto workers = options.max_running > 0 ? std::min(waiting, options.max_running) : waiting;
  const auto script = find_script(options.script);
  const auto folder = options.directory / "slurm";
  make_writable_folder(folder);
  std::vector<std::string> ids;
  for (const auto size : array_sizes(workers, max_array_size())) {
    std::vector<std::string> command{"sbatch", "--job-name=" + plan.name,
                                     "--output=" + (folder / "%x-%A_%a.out").string()};
    command.insert(command.end(), plan.sbatch.begin(), plan.sbatch.end());
    command.insert(command.end(), options.sbatch.begin(), options.sbatch.end());
    for (const auto& word :
         {std::string("--parsable"), fmt::format("--array=0-{}", size - 1),
          fmt::format("--ntasks={}", options.ranks_per_trial), script.string(), program_path().string(),
          options.directory.string(), std::to_string(options.ranks_per_trial), std::to_string(options.nice)})
      command.push_back(word);
    const auto printed = slurm(command);
    ids.push_back(printed.substr(0, printed.find_first_of(";\n")));
    // Each array is recorded at once, so that it can be cancelled even if the next one is refused.
    std::ofstream(jobs_file(options.directory), std::ios::app) << ids.back() << "\n";
  }
  return ids;
}

void cancel_in_slurm(const std::filesystem::path& directory) {
  std::ifstream file(jobs_file(directory));
  for (std::string id; std::getline(file, id);) {
    const auto outcome = run_program({"scancel", "--quiet", "--state=PENDING", id}, patience);
    if (outcome.exit_code != 0) log::warning("scancel {}: {}", id, outcome.complaint());
  }
}

}  // namespace spankey
