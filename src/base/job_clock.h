// How much time the batch system leaves this job.
#pragma once

#include <chrono>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <string_view>

namespace spankey {

// Seconds of what `squeue -o %L` prints: "days-hours:minutes:seconds" without what is zero in front. None for
// "UNLIMITED", "NOT_SET", "INVALID" and whatever else is not a time.
std::optional<double> parse_time_left(std::string_view text);

// Under Slurm it counts down to SLURM_JOB_END_TIME (Slurm 23.02 and later), else to what squeue says; elsewhere the
// time is infinite. Such a variable may be left over from another job, in a shell or a terminal that outlived it: an
// end that has passed is not believed, nor that of a job that squeue does not know (any more).
class JobClock {
 public:
  // `variable` returns an environment variable or nullptr; `squeue` returns what "squeue -h -j ID -o %L" prints for the
  // id, empty where there is no such job (any more), nothing where it cannot be asked.
  using Variable = std::function<const char*(const char*)>;
  using Squeue = std::function<std::optional<std::string>(const std::string& id)>;
  JobClock();  // of this process
  JobClock(Variable variable, Squeue squeue);

  double seconds_left() const;  // infinite where nothing is known
  // Asks squeue: the limit may have been raised or lifted since.
  void update();

 private:
  using Clock = std::chrono::steady_clock;

  void count_down(double seconds);
  std::optional<std::string> job_id() const;

  Variable variable_;
  Squeue squeue_;
  std::optional<Clock::time_point> end_;
};

}  // namespace spankey
