#include "sweep/job_end.h"

#include <ATen/ops/full.h>

#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "base/job_clock.h"

namespace spankey {
namespace {

constexpr const char* job_end_variable = "SLURM_JOB_END_TIME";

// Seconds since 1970, or 0 where the end is unknown or SLURM_JOB_END_TIME already tells it.
std::int64_t ask_for_job_end() {
  if (std::getenv(job_end_variable) || !std::getenv("SLURM_JOB_ID")) return 0;
  const auto left = JobClock().seconds_left();
  if (!std::isfinite(left)) return 0;
  const std::chrono::duration<double> now = std::chrono::system_clock::now().time_since_epoch();
  return static_cast<std::int64_t>(now.count() + left);
}

void set_job_end(std::int64_t end) {
  if (end > 0) setenv(job_end_variable, std::to_string(end).c_str(), /*overwrite=*/0);
}

}  // namespace

void share_job_end() {
  set_job_end(ask_for_job_end());
}

void share_job_end(Communicator& world) {
  auto end = at::full({1}, world.rank() == 0 ? ask_for_job_end() : 0, at::kLong);
  world.broadcast(end, 0);
  set_job_end(end.item<std::int64_t>());
}

}  // namespace spankey
