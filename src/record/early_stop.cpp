#include "record/early_stop.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"
#include "config/value.h"
#include "record/result.h"

namespace spankey {
namespace {

constexpr const char* metric_key = "train.early_stop.metric";

// The place, the key and its value, as fail_key writes them.
std::string place_of(const Config& config) {
  const auto origin = config.origins.find(metric_key);
  return fmt::format("{}: {} = {}", origin == config.origins.end() ? "default" : origin->second, metric_key,
                     value_text(config.train.early_stop.metric));
}

}  // namespace

EarlyStop::EarlyStop(const Config& config) : rule_(config.train.early_stop) {
  if (!on()) return;
  objective_ = parse_objective(rule_.metric, place_of(config));
  state_.rule = fmt::format("{} ({})", rule_.metric, to_string(rule_.goal));
}

void EarlyStop::require_known(const Config& config, const nlohmann::json& sample) const {
  if (on()) spankey::require_known(objective_, sample, nullptr, place_of(config));
}

void EarlyStop::observe(std::int64_t epochs, const nlohmann::json& evaluation) {
  if (!on() || epochs <= state_.seen_epoch) return;
  state_.seen_epoch = epochs;
  const auto value = value_of(objective_, evaluation, nullptr);
  if (!value) return;
  const double gain = rule_.goal == Goal::max ? *value - state_.best.value_or(0.0) : state_.best.value_or(0.0) - *value;
  if (state_.best && !(gain > rule_.min_improvement)) return;
  state_.best = value;
  state_.best_epoch = epochs;
}

bool EarlyStop::stops() const {
  return on() && state_.seen_epoch >= rule_.min_epochs && state_.seen_epoch - state_.best_epoch >= rule_.patience;
}

std::string EarlyStop::reason() const {
  const auto epochs = counted(state_.seen_epoch - state_.best_epoch, "epoch");
  if (!state_.best) return fmt::format("{} was no finite number in {}", rule_.metric, epochs);
  const auto by = rule_.min_improvement > 0 ? fmt::format(" by more than {:g}", rule_.min_improvement) : std::string();
  return fmt::format("{} = {:.6g} after epoch {} was not improved{} in {}", rule_.metric, *state_.best,
                     state_.best_epoch, by, epochs);
}

nlohmann::json EarlyStop::record() const {
  return {{"epoch", state_.seen_epoch},
          {"metric", rule_.metric},
          {"best", state_.best ? nlohmann::json(*state_.best) : nlohmann::json()},
          {"best_epoch", state_.best_epoch},
          {"reason", reason()}};
}

void EarlyStop::restore(const EarlyStopState& state) {
  if (on() && state.rule == state_.rule) state_ = state;
}

std::string early_stop_text(const nlohmann::json& result) {
  const auto stop = result.is_object() ? result.find("early_stop") : result.end();
  if (stop == result.end() || !stop->is_object()) return {};
  const auto epoch = number_at(*stop, "epoch");
  const auto reason = stop->find("reason");
  if (!epoch || reason == stop->end() || !reason->is_string()) return {};
  return fmt::format("stopped early after epoch {:g}: {}", *epoch, reason->get<std::string>());
}

}  // namespace spankey
