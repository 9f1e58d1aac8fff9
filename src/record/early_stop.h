// Ends a run that comes no further (train.early_stop), decided from the evaluations after its epochs alone.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <optional>
#include <string>

#include "config/config.h"
#include "record/objective.h"

namespace spankey {

// What the evaluations so far have shown. A checkpoint holds it.
struct EarlyStopState {
  std::string rule;             // metric and goal that it was measured by
  std::int64_t seen_epoch = 0;  // epochs done at the last evaluation that was looked at
  std::int64_t best_epoch = 0;  // epochs done at the best one, 0 before the first number
  std::optional<double> best;
};

class EarlyStop {
 public:
  // Throws Error(bad_input), which begins with the place of the key, where the metric cannot be read.
  explicit EarlyStop(const Config& config);

  // False without train.early_stop.metric. Nothing below happens then.
  bool on() const { return !rule_.metric.empty(); }

  // Throws Error(bad_input), which names the key and what is accepted, where an evaluation such as `sample` has no such
  // figure.
  void require_known(const Config& config, const nlohmann::json& sample) const;

  // Looks at the evaluation after `epochs` epochs. An evaluation that was looked at before changes nothing, and one
  // without a finite number is no improvement.
  void observe(std::int64_t epochs, const nlohmann::json& evaluation);
  // True where the run ends after the evaluation that was looked at last.
  bool stops() const;
  // Says why, in one sentence.
  std::string reason() const;
  // Returns {"epoch", "metric", "best", "best_epoch", "reason"} for result.json.
  nlohmann::json record() const;

  const EarlyStopState& state() const { return state_; }
  // Goes on from the state of a checkpoint. That of another metric or goal counts as none.
  void restore(const EarlyStopState& state);

 private:
  EarlyStopConfig rule_;
  Objective objective_;
  EarlyStopState state_;
};

// Returns "stopped early after epoch 7: REASON" for a result.json of a run that was stopped so, else nothing.
std::string early_stop_text(const nlohmann::json& result);

}  // namespace spankey
