#include "base/launch.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>
#include <string_view>
#include <system_error>

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

}  // namespace spankey
