#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <span>
#include <utility>

#include "base/statistics.h"
#include "base/stream.h"
#include "diagnose/absorption.h"
#include "diagnose/sections.h"
#include "diagnose/separation.h"
#include "train/schedule.h"

namespace spankey {
namespace {

double mean_of(const at::Tensor& values) {
  return values.to(at::kDouble).mean().item<double>();
}

double accuracy_of(const at::Tensor& margins) {
  return mean_of(margins.gt(0));
}

nlohmann::json index_figures(const GradientIndex& index, const KeySlot& slot) {
  const auto values = defined_doubles(index.index), shares = defined_doubles(index.mean_share);
  const auto p_values = defined_doubles(index.p_value);
  const auto m = static_cast<double>(slot.dimension()), rest = static_cast<double>(slot.width() - slot.dimension());
  const auto median = [](const std::vector<double>& v) {
    return v.empty() ? nlohmann::json() : nlohmann::json(quantile(v, 0.5));
  };
  const auto small = std::count_if(p_values.begin(), p_values.end(), [](double p) { return p < 0.01; });
  return {{"m", slot.dimension()},
          {"d", slot.width()},
          {"index", spread_of(values)},
          {"median", median(values)},
          {"null_mean", rest > 2 ? rest / (rest - 2) : NAN},
          {"p_value_median", median(p_values)},
          {"share_with_p_below_0.01",
           p_values.empty() ? NAN : static_cast<double>(small) / static_cast<double>(p_values.size())},
          {"mean_direction_share", spread_of(shares)},
          {"mean_direction_null", 1 / m},
          {"images_without_gradient", index.index.numel() - static_cast<std::int64_t>(values.size())}};
}

// Histogram over the logarithm of the index beside the density of log F under the null hypothesis.
DiagnosePlot gradient_plot(const std::vector<double>& index, const KeySlot& slot, const std::string& view) {
  const auto m = static_cast<double>(slot.dimension()), rest = static_cast<double>(slot.width() - slot.dimension());
  const double low = -2, high = 3;
  constexpr int bins = 50;
  PlotBlock histogram, null;
  for (int i = 0; i < bins; ++i) {
    const double from = low + (high - low) * i / bins, to = from + (high - low) / bins;
    const auto count = std::count_if(index.begin(), index.end(),
                                     [&](double v) { return std::log10(v) >= from && std::log10(v) < to; });
    histogram.push_back({std::pow(10, (from + to) / 2),
                         static_cast<double>(count) / (static_cast<double>(index.size()) * (to - from))});
  }
  for (int i = 0; i <= 400; ++i) {
    const double at = std::pow(10, low + (high - low) * i / 400);
    null.push_back({at, f_pdf(m, rest, at) * at * std::log(10.0)});
  }
  return {"gradient_index",
          "Does the margin look into the span? Gradients by the key, without a key",
          "set logscale x\nset xrange [0.01:1000]\nset yrange [0:*]\nset xlabel 'gradient energy per dimension, in the "
          "span over "
          "outside (" +
              view +
              ")'\nset ylabel 'density per decade'\nset key left top\nset offsets graph 0, 0, graph 0.08, 0\n"
              "plot data index 0 using 1:2 with histeps lw 2 lc rgb '#606060' title 'images', "
              "data index 1 using 1:2 with lines lw 2 dt 2 lc rgb 'black' title 'F law of an isotropic gradient'",
          {histogram, null}};
}

}  // namespace

nlohmann::json diagnose_gradients(DiagnoseRun& run, DiagnosePlots& plots) {
  const auto& slots = run.space().slots();
  nlohmann::json views;
  for (const auto& view : run.views()) {
    const MarginProbe probe(run.model(), run.space(), view.judge);
    constexpr std::array<const char*, 3> places = {"no_key", "valid_key", "wrong_key"};
    // For each place and slot: index, p, share of the mean, its p; and the cosine of the gradients of no and wrong key.
    at::Tensor table = at::zeros({3, static_cast<std::int64_t>(slots.size()), 4, run.samples()}, at::kDouble);
    at::Tensor turned = at::zeros({run.samples()}, at::kDouble);
    run.each_batch("gradients by the key", [&](const DiagnoseRun::Batch& batch) {
      const std::int64_t key = batch.index % run.key_count();
      const std::array<std::vector<at::Tensor>, 3> keys = {run.no_keys(), run.valid(key), run.wrong(key)};
      std::array<at::Tensor, 3> whole;
      for (std::size_t place = 0; place < places.size(); ++place) {
        const auto gradients = probe.margin_gradient(batch.x, batch.labels, keys[place]);
        whole[place] = at::cat(gradients, 1).to(at::kDouble);
        for (std::size_t s = 0; s < slots.size(); ++s) {
          const auto index = gradient_index(gradients[s], slots[s]);
          const auto rows = table[static_cast<std::int64_t>(place)][static_cast<std::int64_t>(s)].narrow(1, batch.begin,
                                                                                                         batch.size());
          rows.copy_(at::stack({index.index, index.p_value, index.mean_share, index.mean_share_p_value}));
        }
      }
      turned.narrow(0, batch.begin, batch.size()).copy_(at::cosine_similarity(whole[0], whole[2], 1, 1e-30));
    });
    run.share(table);
    run.share(turned);
    nlohmann::json figures;
    for (std::size_t place = 0; place < places.size(); ++place)
      for (std::size_t s = 0; s < slots.size(); ++s) {
        const at::Tensor rows = table[static_cast<std::int64_t>(place)][static_cast<std::int64_t>(s)];
        figures[places[place]].push_back(index_figures({rows[0], rows[1], rows[2], rows[3]}, slots[s]));
      }
    figures["cosine_of_gradients_no_and_wrong_key"] = mean_of(turned);
    views[view.name] = figures;
    const auto index = defined_doubles(table[0][0][0]);
    if (&view == &run.views().back() && !index.empty())
      plots.push_back(
          gradient_plot(index, slots[0], view.judge.reject == RejectKind::none ? "class logits" : "as shipped"));
  }
  return views;
}

nlohmann::json diagnose_weights(DiagnoseRun& run) {
  auto rows = nlohmann::json::array();
  if (run.space().kind().inject != Inject::add) return rows;
  const auto points = run.model().injection_points();
  const auto parameters = run.model().named_parameters();
  for (std::size_t l = 0; l < run.space().points().size(); ++l) {
    const std::int64_t point = run.space().points()[l];
    const auto entry = first_operator(run.config().model.name, point);
    if (!entry) continue;
    const auto& shape = points[static_cast<std::size_t>(point)].shape;
    const auto index =
        weight_index(parameters[std::string(entry->parameter)], entry->padding, shape, run.basis().layers[l]);
    rows.push_back({{"layer", point},
                    {"parameter", entry->parameter},
                    {"index", index.index},
                    {"p_low", index.p_low},
                    {"p_high", index.p_high}});
  }
  return rows;
}

// ------------------------------------------------------------------------------------------------- answers

nlohmann::json diagnose_absorption(const DiagnoseRun& run, const AccessTables& access) {
  const auto& dataset = *run.experiment().dataset;
  const double chance = dataset.majority_rate(dataset.test());
  nlohmann::json result{{"majority_rate", chance}};
  for (std::size_t v = 0; v < run.views().size(); ++v) {
    const at::Tensor& margins = access.margins[v];
    const double none = accuracy_of(access.none(margins)), valid = accuracy_of(access.valid(margins)),
                 wrong = accuracy_of(access.wrong(margins));
    const auto interval = t_interval(to_doubles(access.wrong(margins).gt(0).to(at::kDouble).mean(0)));  // over keys
    result[run.views()[v].name] = {{"no_key_accuracy", none},
                                   {"valid_key_accuracy", valid},
                                   {"wrong_key_accuracy", wrong},
                                   {"wrong_key_accuracy_interval", {interval.low, interval.high}},
                                   {"relative_change_no_key", valid > 0 ? (valid - none) / valid : NAN},
                                   {"relative_change_wrong_key", valid > 0 ? (valid - wrong) / valid : NAN}};
    if (v > 0) continue;  // an index of what the network knows, not of what it admits
    result["index_no_key"] = absorption(none, valid, chance);
    result["index_wrong_key"] = absorption(wrong, valid, chance);
  }
  result["drift"] = {{"js_bits_no_key", mean_of(access.divergence.select(1, 0))},
                     {"js_bits_wrong_key", mean_of(access.divergence.select(1, 1))},
                     {"disagreement_no_key", mean_of(access.disagreement.select(1, 0))},
                     {"disagreement_wrong_key", mean_of(access.disagreement.select(1, 1))}};
  return result;
}

namespace {

nlohmann::json to_json(const Separation& separation) {
  return {{"auroc", separation.auroc}, {"eer", separation.eer}, {"far_at_frr_0.01", separation.far_at_frr}};
}

PlotBlock roc_curve(const std::vector<double>& holders, const std::vector<double>& impostors) {
  constexpr double step = 0.002;  // nothing finer can be seen
  PlotBlock block;
  for (const auto& point : operating_points(holders, impostors))
    if (block.empty() || point.far - block.back()[0] >= step || 1 - point.frr - block.back()[1] >= step ||
        point.frr == 0)
      block.push_back({point.far, 1 - point.frr});
  return block;
}

}  // namespace

nlohmann::json diagnose_separation(const AccessTables& access, DiagnosePlots& plots) {
  std::vector<std::pair<std::string, at::Tensor>> scores = {{"max_probability", access.max_probability},
                                                            {"energy", access.energy}};
  if (access.reject_log_odds.numel() > 0) scores.emplace_back("reject_log_odds", -access.reject_log_odds);
  scores.emplace_back("challenge_accuracy", access.margins.back().gt(0).to(at::kDouble));
  nlohmann::json result;
  std::vector<PlotBlock> curves;
  std::string commands =
      "set xlabel 'wrong keys accepted (FAR)'\nset ylabel 'valid keys accepted (1 - FRR)'\n"
      "set xrange [-0.02:1.02]\nset yrange [-0.02:1.02]\nset key right bottom\nplot ";
  for (const auto& [name, score] : scores) {
    const at::Tensor valid = access.valid(score), wrong = access.wrong(score);
    const auto valid_keys = to_doubles(valid.mean(0)), wrong_keys = to_doubles(wrong.mean(0));
    result[name]["per_key"] = to_json(separate(valid_keys, wrong_keys));
    if (name == "challenge_accuracy") continue;  // a single answer says nothing without its label
    const auto holders = to_doubles(valid), impostors = to_doubles(wrong);
    result[name]["per_query"] = to_json(separate(holders, impostors));
    result[name]["per_query_no_key"] = to_json(separate(holders, to_doubles(access.none(score))));
    commands += fmt::format("data index {} using 1:2 with lines lw 2 dt {} lc rgb 'black' title '{}', ", curves.size(),
                            curves.size() + 1,
                            name == "max_probability"   ? "largest probability"
                            : name == "reject_log_odds" ? "reject log-odds"
                                                        : "energy");
    curves.push_back(roc_curve(holders, impostors));
  }
  plots.push_back({"separation", "Telling valid from wrong keys by one answer",
                   commands + "x lw 1 lc rgb '#a0a0a0' title 'chance'", std::move(curves)});
  return result;
}

nlohmann::json diagnose_reject_bias(const DiagnoseRun& run, const AccessTables& access) {
  if (access.reject_log_odds.numel() == 0) return nullptr;
  const auto& config = run.config();
  const std::int64_t batch = config.train.global_batch, samples = run.experiment().train_samples();
  const auto steps = config.train.drop_last ? samples / batch : (samples + batch - 1) / batch;
  double flow = 0.0;  // the sum of learning rate times weight of the deny loss over the steps taken
  for (std::int64_t step = 0; step < run.cursor().global_step; ++step)
    flow += learning_rate(config.optim, config.train.epochs, step / steps) * deny_weight(config.deny, step / steps);
  const double c = access.feature_energy.mean().item<double>();
  return {{"measured_log_odds_wrong_key", spread_of(to_doubles(access.wrong(access.reject_log_odds).flatten()))},
          {"measured_log_odds_no_key", spread_of(to_doubles(access.none(access.reject_log_odds)))},
          {"measured_log_odds_valid_key", spread_of(to_doubles(access.valid(access.reject_log_odds).flatten()))},
          {"c", c},
          {"lambda_t", flow},
          {"gradient_flow", reject_bias(c * flow)},
          {"gradient_flow_low", std::log1p(c * flow / 2)},
          {"gradient_flow_high", std::log1p(c * flow)},
          {"optimiser", config.optim.name}};
}

// ------------------------------------------------------------------------------------------------- acceptance

namespace {

constexpr std::int64_t cosine_levels = 11;  // 0, 0.1, ..., 1
constexpr std::int64_t profile_keys = 8;    // at most, for each level

// A key of the same norm with the given cosine to `key` (1, d), otherwise random.
at::Tensor key_at_cosine(const DiagnoseRun& run, const at::Tensor& key, double cosine, std::int64_t index,
                         std::size_t slot) {
  at::Tensor noise = at::empty({1, key.size(1)}, at::kFloat);
  // Epoch 1: epoch 0 has the draws of the tail prediction.
  Stream({.seed = run.seed(),
          .purpose = Purpose::diagnose,
          .epoch = 1,
          .sample = static_cast<std::uint64_t>(index),
          .layer = static_cast<std::uint32_t>(slot)})
      .fill_normal(std::span(noise.mutable_data_ptr<float>(), static_cast<std::size_t>(noise.numel())));
  const at::Tensor k = key.to(at::kDouble), norm = k.norm();
  at::Tensor across = noise.to(at::kDouble);
  across = across - across.mm(k.t()) / norm.square() * k;
  return (cosine * k + std::sqrt(1 - cosine * cosine) * norm * across / across.norm()).to(at::kFloat);
}

}  // namespace

nlohmann::json diagnose_acceptance(DiagnoseRun& run, DiagnosePlots& plots) {
  const at::NoGradGuard no_grad;
  const std::int64_t keys = std::min(run.key_count(), profile_keys);
  const auto views = static_cast<std::int64_t>(run.views().size());
  at::Tensor counts = at::zeros({views, cosine_levels, keys}, at::kLong);
  const auto cosine = [](std::int64_t level) { return static_cast<double>(level) / (cosine_levels - 1); };
  run.each_batch("acceptance profile", [&](const DiagnoseRun::Batch& batch) {
    for (std::int64_t level = 0; level < cosine_levels; ++level)
      for (std::int64_t i = 0; i < keys; ++i) {
        run.leave_if_asked();
        std::vector<at::Tensor> mixed;
        for (std::size_t s = 0; s < run.valid(i).size(); ++s)
          mixed.push_back(key_at_cosine(run, run.valid(i)[s], cosine(level), level * keys + i, s));
        const auto output = run.model().forward(batch.x, run.space().injection(mixed));
        for (std::int64_t v = 0; v < views; ++v) {
          const auto& judge = run.views()[static_cast<std::size_t>(v)].judge;
          counts[v][level][i] += judge.margin(judge.scores(output), batch.labels).gt(0).sum();
        }
      }
  });
  run.share(counts);
  const at::Tensor accuracy = counts.to(at::kDouble) / static_cast<double>(run.samples());
  nlohmann::json result;
  std::vector<PlotBlock> curves;
  std::string commands =
      "set xlabel 'cosine to a valid key'\nset ylabel 'accuracy (mean, worst and best key)'\nset yrange [0:1.02]\nset "
      "key right bottom\nplot ";
  for (std::int64_t v = 0; v < views; ++v) {
    AcceptanceProfile profile;
    PlotBlock curve;
    auto rows = nlohmann::json::array();
    for (std::int64_t level = 0; level < cosine_levels; ++level) {
      const auto spread = summarise(to_doubles(accuracy[v][level]));
      profile.cosines.push_back(cosine(level));
      profile.accuracy.push_back(spread.mean);
      rows.push_back({{"cosine", cosine(level)}, {"accuracy", spread.mean}, {"min", spread.min}, {"max", spread.max}});
      curve.push_back({cosine(level), spread.mean, spread.min, spread.max});
    }
    const double c50 = half_accept_cosine(profile);
    const auto& name = run.views()[static_cast<std::size_t>(v)].name;
    result[name] = {{"profile", rows},
                    {"keys_per_level", keys},
                    {"c50", c50},
                    {"guess_bits", guess_bits(c50, run.space().width())}};
    commands += fmt::format(
        "{0}data index {1} using 1:2:3:4 with yerrorlines lw 2 dt {2} pt {3} lc rgb 'black' title '{4}'",
        v > 0 ? ", " : "", v, v + 1, v == 0 ? 6 : 7, name == "as_shipped" ? "as shipped" : "class logits alone");
    curves.push_back(curve);
  }
  plots.push_back({"acceptance", "Accuracy by nearness to a valid key", commands, std::move(curves)});
  return result;
}

}  // namespace spankey
