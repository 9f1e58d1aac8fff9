// Measures the multiplier under wrong keys, its moments and how often it saturates, beside those under a Gaussian key.
#include "diagnose/multiplier.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "diagnose/section.h"
#include "diagnose/section_text.h"
#include "spankey/ops/inject_op.h"

namespace spankey {
namespace {

struct MomentFigures {
  double mean = no_number, sd = no_number;
  double at_low = no_number, at_high = no_number;  // shares at the clamps

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit("mean", self.mean);
    visit("sd", self.sd);
    visit("at_low", self.at_low);
    visit("at_high", self.at_high);
  }
};

struct MultiplierFigures {
  std::vector<std::int64_t> layers;
  std::string multiplier;
  double gamma = no_number, std = no_number;
  MomentFigures predicted, measured;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit("layers", self.layers);
    visit("multiplier", self.multiplier);
    visit("gamma", self.gamma);
    visit("std", self.std);
    visit("predicted", self.predicted);
    visit("measured", self.measured);
  }
};

// `keys` is (keys, d).
MomentFigures measured_moments(const InjectionKind& kind, const at::Tensor& keys) {
  const at::Tensor factor = perturbed(kind, keys) + 1;
  const auto share = [&](double bound) {
    constexpr double rounding = 1e-9;  // of taking 1 away from the operator's result and adding it again
    return kind.multiplier == Multiplier::clamp ? mean_of((factor - bound).abs().lt(rounding)) : 0.0;
  };
  return {mean_of(factor), factor.std().item<double>(), share(multiplier_low), share(multiplier_high)};
}

}  // namespace

Measured measure_multiplier(DiagnoseRun& run, const AccessTables&) {
  const auto& kind = run.space().kind();
  if (kind.inject == Inject::add) return {};
  std::vector<MultiplierFigures> slots;
  const auto wrong = run.all_wrong();
  for (std::size_t s = 0; s < wrong.size(); ++s) {
    const double std = run.wrong_std()[s];
    const auto law = multiplier_moments(kind, std);
    slots.push_back({run.space().points_of(run.space().slots()[s]),
                     to_string(kind.multiplier),
                     kind.gamma,
                     std,
                     {law.mean, law.sd, law.at_low, law.at_high},
                     measured_moments(kind, wrong[s])});
  }
  return {figures::to_json(slots), {}};
}

Section multiplier_text(const nlohmann::json& json) {
  Section section{"The multiplier under wrong keys", {}};
  for (const auto& slot : figures::from_json<std::vector<MultiplierFigures>>(json)) {
    auto table = figure_table(fmt::format("Layers {}, {}, gamma {}, std {}.", list_text(slot.layers), slot.multiplier,
                                          number_text(slot.gamma), number_text(slot.std)),
                              {"multiplier", "predicted", "measured"});
    const auto add = [&](const char* title, double MomentFigures::*moment) {
      add_row(table, {title, number_text(slot.predicted.*moment), number_text(slot.measured.*moment)});
    };
    add("mean", &MomentFigures::mean);
    add("sd", &MomentFigures::sd);
    add("share at 0.1", &MomentFigures::at_low);
    add("share at 2", &MomentFigures::at_high);
    section.blocks.emplace_back(std::move(table));
  }
  return section;
}

}  // namespace spankey
