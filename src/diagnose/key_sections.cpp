#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "base/statistics.h"
#include "diagnose/key_laws.h"
#include "diagnose/multiplier.h"
#include "diagnose/sections.h"
#include "spankey/ops/inject_op.h"

namespace spankey {
namespace {

// Keys of their own for the laws of the keys, which need more of them than the network is tried with; beyond those.
constexpr std::int64_t law_keys = 512;

// For each slot (law_keys, columns): `measure` of the keys `draw` gives, the keys shared among the ranks.
std::vector<at::Tensor> over_law_keys(DiagnoseRun& run, const std::function<Injection(std::int64_t)>& draw,
                                      const std::function<at::Tensor(const at::Tensor&, const KeySlot&)>& measure,
                                      const std::function<std::int64_t(const KeySlot&)>& columns) {
  std::vector<at::Tensor> tables;
  for (const auto& slot : run.space().slots()) tables.push_back(at::zeros({law_keys, columns(slot)}, at::kDouble));
  run.each(law_keys, [&](std::int64_t i) {
    const auto keys = run.space().keys_of(draw(run.key_count() + i));
    for (std::size_t s = 0; s < keys.size(); ++s) tables[s][i].copy_(measure(keys[s], run.space().slots()[s]));
  });
  for (auto& table : tables) run.share(table);
  return tables;
}

Injection draw_valid(const DiagnoseRun& run, std::int64_t i) {
  return run.keys().evaluation_correct(i, run.config().train.global_batch);
}

Injection draw_wrong(const DiagnoseRun& run, std::int64_t i) {
  return run.keys().evaluation_wrong(i, run.config().train.global_batch);
}

nlohmann::json slot_name(const DiagnoseRun& run, const KeySlot& slot) {
  auto layers = nlohmann::json::array();
  for (const auto layer : slot.layers) layers.push_back(run.space().points()[static_cast<std::size_t>(layer)]);
  return layers;
}

nlohmann::json energy_tail(const EnergySplit& law, const std::vector<double>& shares) {
  auto rows = nlohmann::json::array();
  for (const double factor : {1.25, 1.5, 2.0, 2.5, 3.0, 4.0}) {
    const double rho = factor * law.mean();
    if (rho >= 1) continue;
    const auto above = std::count_if(shares.begin(), shares.end(), [&](double v) { return v >= rho; });
    rows.push_back({{"share", rho},
                    {"predicted", law.tail(rho)},
                    {"chernoff", law.chernoff(rho)},
                    {"measured", static_cast<double>(above) / static_cast<double>(shares.size())}});
  }
  return rows;
}

DiagnosePlot energy_plot(const EnergySplit& law, const std::vector<double>& shares, const std::string& name) {
  const double end = std::max(*std::max_element(shares.begin(), shares.end()), 3 * law.mean());
  constexpr int bins = 30;
  const double width = end / bins;
  PlotBlock histogram, density;
  for (int i = 0; i < bins; ++i) {
    const double low = i * width;
    const auto count =
        std::count_if(shares.begin(), shares.end(), [&](double v) { return v >= low && v < low + width; });
    histogram.push_back({low + width / 2, static_cast<double>(count) / (static_cast<double>(shares.size()) * width)});
  }
  for (int i = 0; i <= 300; ++i) density.push_back({end * i / 300, law.density(end * i / 300)});
  return {name,
          "Energy of wrong keys in the span of the basis",
          "set xlabel 'share of the energy of a wrong key that lies in Span(B)'\nset ylabel 'probability density'\n"
          "set style fill solid 0.3 border\nset yrange [0:*]\n"
          "plot data index 0 using 1:2 with boxes lc rgb '#808080' title 'measured', "
          "data index 1 using 1:2 with lines lw 2 lc rgb 'black' title 'Beta law'",
          {histogram, density}};
}

}  // namespace

nlohmann::json diagnose_energy_split(DiagnoseRun& run, DiagnosePlots& plots) {
  const auto one = [](const KeySlot&) { return std::int64_t{1}; };
  const auto share = [](const at::Tensor& key, const KeySlot& slot) {
    const auto energy = span_energy(key, slot);
    return energy.in_span / energy.total;
  };
  const auto shares = over_law_keys(
      run, [&](std::int64_t i) { return draw_wrong(run, i); }, share, one);
  // Under mul the network sees the multiplier, which leaves the span where it saturates.
  const auto injected = [&](const at::Tensor& key, const KeySlot& slot) {
    const auto energy = span_energy(perturbed(run.space().kind(), key), slot);
    return energy.in_span / energy.total;
  };
  const auto valid = over_law_keys(
      run, [&](std::int64_t i) { return draw_valid(run, i); }, injected, one);
  auto slots = nlohmann::json::array();
  for (std::size_t s = 0; s < shares.size(); ++s) {
    const auto& slot = run.space().slots()[s];
    const EnergySplit law{static_cast<double>(slot.dimension()), static_cast<double>(slot.width())};
    const auto measured = to_doubles(shares[s]);
    const double ks = ks_statistic(measured, [&](double rho) { return law.cdf(rho); });
    slots.push_back({{"layers", slot_name(run, slot)},
                     {"m", slot.dimension()},
                     {"d", slot.width()},
                     {"keys", law_keys},
                     {"predicted", {{"mean", law.mean()}, {"sd", std::sqrt(law.variance())}}},
                     {"measured", spread_of(measured)},
                     {"ks", {{"statistic", ks}, {"p_value", ks_p_value(ks, law_keys)}}},
                     {"tail", energy_tail(law, measured)},
                     {"valid_injection_share", spread_of(to_doubles(valid[s]))}});
    plots.push_back(energy_plot(law, measured, s == 0 ? "energy_split" : "energy_split_" + std::to_string(s)));
  }
  return slots;
}

nlohmann::json diagnose_key_law(DiagnoseRun& run) {
  const auto coordinates = over_law_keys(
      run, [&](std::int64_t i) { return draw_valid(run, i); },
      [](const at::Tensor& key, const KeySlot& slot) { return key.to(at::kDouble).matmul(slot.frame.t())[0]; },
      [](const KeySlot& slot) { return slot.dimension(); });
  const auto law_name = run.config().key.alpha;
  auto slots = nlohmann::json::array();
  for (std::size_t s = 0; s < coordinates.size(); ++s) {
    const auto& slot = run.space().slots()[s];
    const auto law = key_law(law_name, slot.gram), textbook = key_law(law_name, at::eye(slot.dimension(), at::kDouble));
    const auto found = measure_keys(coordinates[s], slot.frame.mv(slot.mean_direction));
    const auto row = [](double expected, double orthonormal, double measured) {
      return nlohmann::json{{"predicted", expected}, {"orthonormal_basis", orthonormal}, {"measured", measured}};
    };
    slots.push_back(
        {{"layers", slot_name(run, slot)},
         {"alpha", to_string(law_name)},
         {"m", slot.dimension()},
         {"keys", law_keys},
         {"pair_cosine", row(law.pair_cosine, textbook.pair_cosine, found.pair_cosine)},
         {"pair_cosine_sd", row(law.pair_cosine_sd, textbook.pair_cosine_sd, found.pair_cosine_sd)},
         {"mean_cosine", row(law.mean_cosine, textbook.mean_cosine, found.mean_cosine)},
         {"mean_cosine_sd", row(law.mean_cosine_sd, textbook.mean_cosine_sd, found.mean_cosine_sd)},
         {"mean_energy_share", row(law.mean_energy_share, textbook.mean_energy_share, found.mean_energy_share)},
         {"effective_rank", row(law.effective_rank, textbook.effective_rank, found.effective_rank)},
         {"norm_relative_sd", found.norm_sd}});
  }
  return slots;
}

nlohmann::json diagnose_multiplier(DiagnoseRun& run) {
  const auto& kind = run.space().kind();
  if (kind.inject == Inject::add) return nullptr;
  auto slots = nlohmann::json::array();
  const auto wrong = run.all_wrong();
  for (std::size_t s = 0; s < wrong.size(); ++s) {
    const double std = run.wrong_std()[s];
    const auto law = multiplier_moments(kind, std);
    const at::Tensor factor = perturbed(kind, wrong[s]) + 1;
    const bool clamped = kind.multiplier == Multiplier::clamp;
    const auto share = [&](double bound) {
      constexpr double rounding = 1e-9;  // of taking 1 away from the operator's result and adding it again
      return clamped ? (factor - bound).abs().lt(rounding).to(at::kDouble).mean().item<double>() : 0.0;
    };
    slots.push_back(
        {{"layers", slot_name(run, run.space().slots()[s])},
         {"multiplier", to_string(kind.multiplier)},
         {"gamma", kind.gamma},
         {"std", std},
         {"predicted", {{"mean", law.mean}, {"sd", law.sd}, {"at_low", law.at_low}, {"at_high", law.at_high}}},
         {"measured",
          {{"mean", factor.mean().item<double>()},
           {"sd", factor.std().item<double>()},
           {"at_low", share(multiplier_low)},
           {"at_high", share(multiplier_high)}}}});
  }
  return slots;
}

}  // namespace spankey
