#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "base/statistics.h"
#include "diagnose/key_laws.h"
#include "diagnose/sections.h"
#include "diagnose/tail.h"

namespace spankey {
namespace {

constexpr std::int64_t tail_draws = 2000;

// The gnuplot line y = x over the range of the first block's numbers.
constexpr const char* diagonal = "x lw 1 dt 2 lc rgb 'black' title 'equal'";

nlohmann::json agreement(const at::Tensor& predicted, const at::Tensor& measured) {
  const auto a = to_doubles(predicted), b = to_doubles(measured);
  const at::Tensor error = predicted - measured;
  return {{"mean", predicted.mean().item<double>()},
          {"mean_absolute_error", error.abs().mean().item<double>()},
          {"rms_error", std::sqrt(error.square().mean().item<double>())},
          {"correlation", correlation(a, b)}};
}

// Not more points than an eye can tell apart, evenly chosen.
PlotBlock points(const at::Tensor& x, const at::Tensor& y) {
  constexpr std::size_t most = 1500;
  const auto a = to_doubles(x), b = to_doubles(y);
  const std::size_t step = std::max<std::size_t>(1, a.size() / most);
  PlotBlock block;
  for (std::size_t i = 0; i < a.size(); i += step) block.push_back({a[i], b[i]});
  return block;
}

// Measured, first order, path integral, from keys `from` to `to` of each batch: (samples, 3).
using BatchKeys = std::function<std::vector<at::Tensor>(const DiagnoseRun::Batch&)>;

at::Tensor change_table(DiagnoseRun& run, const Judge& judge, const BatchKeys& from, const BatchKeys& to) {
  const MarginProbe probe(run.model(), run.space(), judge);
  at::Tensor table = at::zeros({run.samples(), 3}, at::kDouble);
  run.each_batch("change of the margin", [&](const DiagnoseRun::Batch& batch) {
    const auto a = from(batch), b = to(batch);
    const at::Tensor rows = table.narrow(0, batch.begin, batch.size());
    rows.select(1, 0).copy_(probe.margin(batch.x, batch.labels, b) - probe.margin(batch.x, batch.labels, a));
    rows.select(1, 1).copy_(probe.first_order(batch.x, batch.labels, a, b));
    rows.select(1, 2).copy_(probe.path_integral(batch.x, batch.labels, a, b));
  });
  run.share(table);
  return table;
}

}  // namespace

nlohmann::json diagnose_margin_change(DiagnoseRun& run, DiagnosePlots& plots) {
  const BatchKeys none = [&](const auto&) { return run.no_keys(); };
  const BatchKeys valid = [&](const auto& batch) { return run.valid(batch.index % run.key_count()); };
  const BatchKeys wrong = [&](const auto& batch) { return run.wrong(batch.index % run.key_count()); };
  nlohmann::json views;
  for (const auto& view : run.views()) {
    auto rows = nlohmann::json::array();
    const auto add = [&](const char* from_name, const char* to_name, const BatchKeys& from, const BatchKeys& to) {
      const at::Tensor table = change_table(run, view.judge, from, to);
      const at::Tensor measured = table.select(1, 0);
      rows.push_back({{"from", from_name},
                      {"to", to_name},
                      {"measured", spread_of(to_doubles(measured))},
                      {"first_order", agreement(table.select(1, 1), measured)},
                      {"path_integral", agreement(table.select(1, 2), measured)}});
      return table;
    };
    const at::Tensor opened = add("no key", "valid key", none, valid);
    add("no key", "wrong key", none, wrong);
    add("valid key", "wrong key", valid, wrong);
    views[view.name] = rows;
    if (&view != &run.views().back()) continue;
    const std::string axis = view.judge.reject == RejectKind::none ? "class logits" : "as shipped";
    plots.push_back(
        {"margin_change",
         "Change of the margin from no key to a valid key",
         "set xlabel 'measured change of the margin (" + axis + ")'\nset ylabel 'predicted change'\n" +
             "set key left top\nplot data index 0 using 1:2 with points pt 1 ps 0.5 lc rgb '#808080' title " +
             "'first order', data index 1 using 1:2 with points pt 6 ps 0.5 lc rgb 'black' title " +
             "'path integral', " + diagonal,
         {points(opened.select(1, 0), opened.select(1, 1)), points(opened.select(1, 0), opened.select(1, 2))}});
  }
  return views;
}

// ------------------------------------------------------------------------------------------------- margin tail

namespace {

enum TailColumn : std::int64_t {
  tail_gaussian,
  tail_jacobian,
  tail_cantelli_high,
  tail_cantelli_low,
  tail_hoeffding,
  tail_tau,
  shift_valid_mean,
  shift_valid_variance,
  shift_wrong_variance,
  tail_columns
};

struct TailTables {
  at::Tensor figures;        // (samples, tail_columns)
  at::Tensor linear_margin;  // (samples, keys): of the linear model under the wrong keys themselves
};

TailTables tail_tables(DiagnoseRun& run, const Judge& judge) {
  const MarginProbe probe(run.model(), run.space(), judge);
  std::vector<Perturbation> slots;
  for (const double std : run.wrong_std()) slots.push_back(perturbation(run.space().kind(), std));
  const auto wrong = run.all_wrong();
  const std::int64_t columns = judge.classes + (judge.reject == RejectKind::none ? 0 : 1);
  const at::Tensor normals = tail_normals(run.seed(), tail_draws, columns);
  const double mean_cosine = key_law(run.config().key.alpha, run.space().slots()[0].gram).mean_cosine;
  TailTables tables{at::zeros({run.samples(), tail_columns}, at::kDouble),
                    at::zeros({run.samples(), run.key_count()}, at::kDouble)};
  run.each_batch("tail of the margin", [&](const DiagnoseRun::Batch& batch) {
    const auto linear = linearise(probe, batch.x, slots);
    const auto tail = predict_tail(linear, slots, batch.labels, judge, normals);
    const auto gradients = probe.margin_gradient(batch.x, batch.labels, run.no_keys());
    const auto shift = span_shift(gradients, run.space(), run.wrong_std(), mean_cosine);
    const auto put = [&](TailColumn column, const at::Tensor& values) {
      if (values.defined()) tables.figures.narrow(0, batch.begin, batch.size()).select(1, column).copy_(values);
    };
    put(tail_gaussian, tail.gaussian);
    put(tail_jacobian, tail.jacobian);
    put(tail_cantelli_high, tail.cantelli_high);
    put(tail_cantelli_low, tail.cantelli_low);
    put(tail_hoeffding, tail.hoeffding);
    put(tail_tau, tail.tau);
    put(shift_valid_mean, shift.valid_mean);
    put(shift_valid_variance, shift.valid_variance);
    put(shift_wrong_variance, shift.wrong_variance);
    const auto scores = linear_scores(linear, run.space().kind(), wrong);
    tables.linear_margin.narrow(0, batch.begin, batch.size()).copy_(judge.margin(scores, batch.labels));
  });
  run.share(tables.figures);
  run.share(tables.linear_margin);
  return tables;
}

nlohmann::json measured_errors(const at::Tensor& margins) {
  const at::Tensor errors = margins.le(0).to(at::kDouble);  // (samples, keys)
  const auto by_key = to_doubles(errors.mean(0));
  const auto t = t_interval(by_key);
  const auto pooled = clopper_pearson(errors.sum().to(at::kLong).item<std::int64_t>(), errors.numel());
  return {{"error", errors.mean().item<double>()},
          {"over_keys", spread_of(by_key)},
          {"t_interval_over_keys", {t.low, t.high}},
          {"clopper_pearson_pooled", {pooled.low, pooled.high}},
          {"gaussian_fit", fitted_tail(margins).mean().item<double>()}};
}

// How far the linear model is from the network under the very same keys.
nlohmann::json tail_validity(const at::Tensor& linear, const at::Tensor& measured, const at::Tensor& jacobian) {
  const auto image_error = to_doubles(measured.le(0).to(at::kDouble).mean(1));
  nlohmann::json validity = agreement(linear.flatten(), measured.flatten());
  validity["relative_error"] =
      (linear - measured).abs().mean().item<double>() / measured.flatten().std().item<double>();
  validity["image_correlation"] = correlation(to_doubles(jacobian), image_error);
  validity["image_margin_correlation"] = correlation(to_doubles(linear.mean(1)), to_doubles(measured.mean(1)));
  return validity;
}

nlohmann::json span_figures(const TailTables& tables, const AccessTables& access, const at::Tensor& margins) {
  const at::Tensor none = access.none(margins), valid = access.valid(margins), wrong = access.wrong(margins);
  const auto column = [&](TailColumn c) { return tables.figures.select(1, c); };
  const auto mean = [](const at::Tensor& t) { return t.mean().item<double>(); };
  return {{"no_key_margin", mean(none)},
          {"valid_shift", {{"predicted", mean(column(shift_valid_mean))}, {"measured", mean(valid.mean(1) - none)}}},
          {"valid_sd", {{"predicted", mean(column(shift_valid_variance).sqrt())}, {"measured", mean(valid.std(1))}}},
          {"wrong_sd", {{"predicted", mean(column(shift_wrong_variance).sqrt())}, {"measured", mean(wrong.std(1))}}}};
}

}  // namespace

nlohmann::json diagnose_margin_tail(DiagnoseRun& run, const AccessTables& access, DiagnosePlots& plots) {
  nlohmann::json views;
  for (std::size_t v = 0; v < run.views().size(); ++v) {
    const auto& view = run.views()[v];
    const auto tables = tail_tables(run, view.judge);
    const at::Tensor measured = access.wrong(access.margins[v]);
    const auto mean = [&](TailColumn c) { return tables.figures.select(1, c).mean().item<double>(); };
    const auto tau = defined_doubles(tables.figures.select(1, tail_tau));
    nlohmann::json quantiles;
    for (const double q : {0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99})
      if (!tau.empty()) quantiles[fmt::format("{:g}", q)] = quantile(tau, q);
    const bool add = run.space().kind().inject == Inject::add;
    views[view.name] = {
        {"predicted",
         {{"gaussian", mean(tail_gaussian)},
          {"jacobian_gaussian", mean(tail_jacobian)},
          {"cantelli_high", mean(tail_cantelli_high)},
          {"cantelli_low", mean(tail_cantelli_low)},
          {"hoeffding", add ? nlohmann::json() : nlohmann::json(mean(tail_hoeffding))}}},
        {"measured", measured_errors(measured)},
        {"tau_quantiles", quantiles},
        {"validity", tail_validity(tables.linear_margin, measured, tables.figures.select(1, tail_jacobian))},
        {"span", span_figures(tables, access, access.margins[v])}};
    views[view.name]["validity"]["switched_share"] = access.switched.mean().item<double>();
    plots.push_back({"margin_tail_" + view.name,
                     "Margins under wrong keys, each point an image and a key",
                     std::string("set xlabel 'margin of the linear model'\nset ylabel 'margin measured'\n") +
                         "set key left top\nset xzeroaxis\nset yzeroaxis\n" +
                         "plot data index 0 using 1:2 with points pt 7 ps 0.3 lc rgb '#606060' title '" +
                         (view.judge.reject == RejectKind::none ? "class logits" : "as shipped") + "', " + diagonal,
                     {points(tables.linear_margin.flatten(), measured.flatten())}});
  }
  return views;
}

}  // namespace spankey
