// How much time the batch system leaves to this job.
#pragma once

#include <chrono>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <string_view>

namespace spankey {

// Parses what `squeue -o %L` prints, "days-hours:minutes:seconds" with leading zero parts left out, into seconds.
// Returns nullopt for "UNLIMITED", "NOT_SET", "INVALID" and for anything else that is not a time.
std::optional<double> parse_time_left(std::string_view text);

// Under Slurm this clock counts down to SLURM_JOB_END_TIME (Slurm 23.02 and later), otherwise by what squeue says.
// Elsewhere the time is infinite. Such a variable may be left over from another job, in a shell or a terminal that
// outlived it. The clock therefore ignores an end that has passed, and the end of a job that squeue does not know (any
// more).
class JobClock {
 public:
  // `variable` returns an environment variable or nullptr. `squeue` returns what "squeue -h -j ID -o %L" prints for the
  // id. It returns an empty text where there is no such job (any more), and nullopt where squeue cannot be asked.
  using Variable = std::function<const char*(const char*)>;
  using Squeue = std::function<std::optional<std::string>(const std::string& id)>;
  JobClock();  // reads the environment of this process
  JobClock(Variable variable, Squeue squeue);

  double seconds_left() const;  // infinite where nothing is known
  // Asks squeue again, because the limit may have been raised or lifted.
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
