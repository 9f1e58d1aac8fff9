#include "train/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/error.h"

namespace spankey {
namespace {

double scheduled_rate(const OptimConfig& config, const Place& place) {
  const auto epoch = place.epoch;
  std::int64_t falls = 0;
  switch (config.schedule) {
    case Schedule::constant:
      return config.lr;
    case Schedule::cosine:
      return config.lr * 0.5 *
             (1.0 + std::cos(std::numbers::pi * static_cast<double>(epoch) / static_cast<double>(place.epochs)));
    case Schedule::linear: {
      const auto steps = static_cast<double>(place.epochs * place.steps);
      const double left = 1.0 - static_cast<double>(epoch * place.steps + place.step) / steps;
      return config.lr * std::min(1.0, left / (1.0 - config.constant_fraction));
    }
    case Schedule::step:
      SPANKEY_CHECK(!config.milestones.empty());
      falls = epoch / config.milestones[0];
      break;
    case Schedule::multistep:
      falls = std::count_if(config.milestones.begin(), config.milestones.end(),
                            [&](std::int64_t milestone) { return milestone <= epoch; });
      break;
  }
  return config.lr * std::pow(config.schedule_factor, static_cast<double>(falls));
}

}  // namespace

double learning_rate(const OptimConfig& config, const Place& place) {
  const double rate = scheduled_rate(config, place);
  const auto taken = place.epoch * place.steps + place.step + 1;  // with this step
  if (taken >= config.warmup_steps) return rate;
  return rate * (static_cast<double>(taken) / static_cast<double>(config.warmup_steps));
}

double deny_weight(const DenyConfig& config, std::int64_t epoch) {
  if (config.warmup_epochs <= 0) return config.weight;
  return config.weight * std::min(1.0, static_cast<double>(epoch + 1) / static_cast<double>(config.warmup_epochs));
}

}  // namespace spankey
