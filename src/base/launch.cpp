#include "base/launch.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <string_view>
#include <system_error>

#include "base/process.h"
#include "base/run_program.h"

namespace spankey {
namespace {

struct LaunchVariables {
  const char* size;
  const char* rank;
  bool in_step = false;  // set by Slurm, which counts with several tasks only, since one needs no MPI
};

// The launchers are Open MPI, PMI (MPICH, Intel MPI, Cray, srun), MVAPICH2, a step of Slurm, and PMIx, which gives the
// size by a call and not in a variable.
constexpr std::array variables{
    LaunchVariables{"OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"},
    LaunchVariables{"PMI_SIZE", "PMI_RANK"},
    LaunchVariables{"MV2_COMM_WORLD_SIZE", "MV2_COMM_WORLD_RANK"},
    LaunchVariables{"SLURM_STEP_NUM_TASKS", "SLURM_PROCID", true},
    LaunchVariables{"PMIX_SIZE", "PMIX_RANK"},
};

std::optional<int> number(const char* text) {
  if (!text) return std::nullopt;
  const std::string_view digits(text);
  int value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (error != std::errc() || end != digits.data() + digits.size() || value < 0) return std::nullopt;
  return value;
}

// Hydra's own processes between mpirun and the ranks.
bool is_hydra(std::string_view name) {
  return name.starts_with("hydra_") || name.starts_with("mpirun") || name.starts_with("mpiexec");
}

std::multimap<pid_t, pid_t> children_by_parent() {
  std::multimap<pid_t, pid_t> children;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/proc", error)) {
    const auto process = number(entry.path().filename().c_str());
    if (!process) continue;
    if (const auto facts = look_up_process(*process)) children.emplace(facts->parent, *process);
  }
  return children;
}

}  // namespace

Launch read_launch(const EnvironmentVariable& variable) {
  Launch alone;
  for (const auto& names : variables) {
    const auto size = number(variable(names.size)), rank = number(variable(names.rank));
    if (names.in_step ? !size || *size < 2 || !variable("SLURM_STEP_ID") : !size && !rank) continue;
    Launch launch;
    launch.rank = rank.value_or(0);
    launch.size = std::max(size.value_or(1), launch.rank + 1);
    launch.origin = size ? fmt::format("{} = {}", names.size, *size) : fmt::format("{} = {}", names.rank, launch.rank);
    if (launch.size > 1) return launch;
    if (alone.origin.empty()) alone = launch;
  }
  return alone;
}

Launch read_launch() {
  return read_launch([](const char* name) -> const char* { return std::getenv(name); });
}

std::optional<int> unused_tasks(const EnvironmentVariable& variable) {
  const auto tasks = number(variable("SLURM_NTASKS"));
  if (!tasks || *tasks < 2 || !variable("SLURM_JOB_ID") || !read_launch(variable).origin.empty()) return std::nullopt;
  return tasks;
}

Mpirun mpirun_of(std::string_view version) {
  for (const char* name : {"HYDRA", "Hydra", "Intel(R) MPI", "MPICH"})
    if (version.find(name) != std::string_view::npos) return Mpirun::hydra;
  return Mpirun::open_mpi;
}

Mpirun mpirun_here() {
  constexpr std::chrono::seconds patience{20};
  static const Mpirun kind = mpirun_of(run_program({"mpirun", "--version"}, patience).out);
  return kind;
}

std::vector<std::string> mpirun_words(Mpirun mpirun, int ranks) {
  std::vector<std::string> words{"mpirun", "-np", std::to_string(ranks)};
  if (mpirun == Mpirun::open_mpi) words.insert(words.end(), {"--bind-to", "none"});
  return words;
}

void allow_more_ranks_than_cores() {
  for (const auto& [name, value] :
       {std::pair("OMPI_MCA_rmaps_base_oversubscribe", "1"),
        std::pair("PRTE_MCA_rmaps_default_mapping_policy", ":oversubscribe"), std::pair("I_MPI_PIN", "0")})
    setenv(name, value, /*overwrite=*/0);
  if (geteuid() != 0) return;
  for (const char* name : {"OMPI_ALLOW_RUN_AS_ROOT", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"}) setenv(name, "1", 0);
}

pid_t takes_stop_request(Mpirun kind, pid_t mpirun) {
  if (kind == Mpirun::open_mpi) return mpirun;
  const auto children = children_by_parent();
  std::vector<pid_t> left{mpirun};
  while (!left.empty()) {
    const pid_t process = left.back();
    left.pop_back();
    const auto facts = look_up_process(process);
    if (process != mpirun && facts && !is_hydra(facts->name)) return process;
    const auto [begin, end] = children.equal_range(process);
    for (auto child = begin; child != end; ++child) left.push_back(child->second);
  }
  return mpirun;
}

}  // namespace spankey
