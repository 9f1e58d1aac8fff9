// Measures how far training has driven the log-odds of rejecting a wrong key, beside what gradient flow would have
// reached.
#include <ATen/ATen.h>
#include <fmt/format.h>

#include <cmath>

#include "diagnose/absorption.h"
#include "diagnose/section.h"
#include "diagnose/section_text.h"
#include "train/schedule.h"

namespace spankey {
namespace {

struct RejectBiasFigures {
  Spread wrong_key, no_key, valid_key;  // log-odds of rejecting
  double c = no_number;                 // squared norm of the last features under a wrong key, plus 1
  double lambda_t = no_number;          // sum of learning rate times weight of the deny loss over the steps taken
  double gradient_flow = no_number, gradient_flow_low = no_number, gradient_flow_high = no_number;
  std::string optimiser;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit("measured_log_odds_wrong_key", self.wrong_key);
    visit("measured_log_odds_no_key", self.no_key);
    visit("measured_log_odds_valid_key", self.valid_key);
    visit("c", self.c);
    visit("lambda_t", self.lambda_t);
    visit("gradient_flow", self.gradient_flow);
    visit("gradient_flow_low", self.gradient_flow_low);
    visit("gradient_flow_high", self.gradient_flow_high);
    visit("optimiser", self.optimiser);
  }
};

double deny_flow(const DiagnoseRun& run) {
  const auto& config = run.config();
  const std::int64_t batch = config.train.global_batch, samples = run.experiment().train_samples();
  const auto steps = config.train.drop_last ? samples / batch : (samples + batch - 1) / batch;
  double flow = 0.0;
  for (std::int64_t step = 0; step < run.cursor().global_step; ++step)
    flow += learning_rate(config.optim, {step / steps, config.train.epochs, step % steps, steps}) *
            deny_weight(config.deny, step / steps);
  return flow;
}

}  // namespace

Measured measure_reject_bias(DiagnoseRun& run, const AccessTables& access) {
  if (access.reject_log_odds.numel() == 0) return {};
  const auto log_odds = [](const at::Tensor& table) { return spread_of(to_doubles(table.flatten())); };
  RejectBiasFigures figures;
  figures.wrong_key = log_odds(access.wrong(access.reject_log_odds));
  figures.no_key = log_odds(access.none(access.reject_log_odds));
  figures.valid_key = log_odds(access.valid(access.reject_log_odds));
  figures.c = mean_of(access.feature_energy);
  figures.lambda_t = deny_flow(run);
  figures.gradient_flow = reject_bias(figures.c * figures.lambda_t);
  figures.gradient_flow_low = std::log1p(figures.c * figures.lambda_t / 2);
  figures.gradient_flow_high = std::log1p(figures.c * figures.lambda_t);
  figures.optimiser = run.config().optim.name;
  return {figures::to_json(figures), {}};
}

Section reject_bias_text(const nlohmann::json& json) {
  if (json.is_null()) return {};
  const auto figures = figures::from_json<RejectBiasFigures>(json);
  return {"Log-odds of rejecting",
          {Paragraph{fmt::format(
              "Log-odds of rejecting: {} with a wrong key, {} without, {} with a valid one. Gradient flow at the same "
              "learning rate would have brought wrong keys to {} (growing like the logarithm of time: {} to {}); the "
              "optimiser was {}.",
              number_text(figures.wrong_key.mean), number_text(figures.no_key.mean),
              number_text(figures.valid_key.mean), number_text(figures.gradient_flow),
              number_text(figures.gradient_flow_low), number_text(figures.gradient_flow_high), figures.optimiser)}}};
}

}  // namespace spankey
