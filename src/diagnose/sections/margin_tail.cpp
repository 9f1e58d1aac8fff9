// Predicts how often a wrong key spoils a right answer, from the network without a key, beside what is measured.
#include <ATen/ATen.h>
#include <fmt/format.h>

#include <map>

#include "base/statistics.h"
#include "diagnose/agreement.h"
#include "diagnose/key_laws.h"
#include "diagnose/section.h"
#include "diagnose/section_text.h"
#include "diagnose/tail.h"

namespace spankey {
namespace {

constexpr std::int64_t tail_draws = 2000;

struct PredictedErrors {
  double gaussian = no_number, jacobian_gaussian = no_number;
  double cantelli_high = no_number, cantelli_low = no_number;
  double hoeffding = no_number;  // a Gaussian key under add has no range, so there is none

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit("gaussian", self.gaussian);
    visit("jacobian_gaussian", self.jacobian_gaussian);
    visit("cantelli_high", self.cantelli_high);
    visit("cantelli_low", self.cantelli_low);
    visit("hoeffding", self.hoeffding);
  }
};

struct MeasuredErrors {
  double error = no_number;
  Spread over_keys;
  std::vector<double> t_interval_over_keys, clopper_pearson_pooled;  // low and high
  double gaussian_fit = no_number;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit("error", self.error);
    visit("over_keys", self.over_keys);
    visit("t_interval_over_keys", self.t_interval_over_keys);
    visit("clopper_pearson_pooled", self.clopper_pearson_pooled);
    visit("gaussian_fit", self.gaussian_fit);
  }
};

// The distance of the linear model from the network under the very same keys.
struct TailValidity {
  Agreement margins;
  double relative_error = no_number, image_correlation = no_number, image_margin_correlation = no_number;
  double switched_share = no_number;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor&& visit) {
    Agreement::fields(self.margins, visit);
    visit("relative_error", self.relative_error);
    visit("image_correlation", self.image_correlation);
    visit("image_margin_correlation", self.image_margin_correlation);
    visit("switched_share", self.switched_share);
  }
};

struct SpanFigures {
  double no_key_margin = no_number;
  Comparison valid_shift, valid_sd, wrong_sd;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit("no_key_margin", self.no_key_margin);
    visit("valid_shift", self.valid_shift);
    visit("valid_sd", self.valid_sd);
    visit("wrong_sd", self.wrong_sd);
  }
};

struct TailFigures {
  PredictedErrors predicted;
  MeasuredErrors measured;
  std::map<std::string, double> tau_quantiles;
  TailValidity validity;
  SpanFigures span;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit("predicted", self.predicted);
    visit("measured", self.measured);
    visit("tau_quantiles", self.tau_quantiles);
    visit("validity", self.validity);
    visit("span", self.span);
  }
};

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
  at::Tensor linear_margin;  // (samples, keys), of the linear model under the wrong keys themselves

  at::Tensor column(TailColumn c) const { return figures.select(1, c); }
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

PredictedErrors predicted_errors(const TailTables& tables, Inject inject) {
  return {mean_of(tables.column(tail_gaussian)), mean_of(tables.column(tail_jacobian)),
          mean_of(tables.column(tail_cantelli_high)), mean_of(tables.column(tail_cantelli_low)),
          inject == Inject::add ? no_number : mean_of(tables.column(tail_hoeffding))};
}

// `margins` is (samples, keys).
MeasuredErrors measured_errors(const at::Tensor& margins) {
  const at::Tensor errors = margins.le(0).to(at::kDouble);
  const auto by_key = to_doubles(errors.mean(0));
  const auto t = t_interval(by_key);
  const auto pooled = clopper_pearson(errors.sum().to(at::kLong).item<std::int64_t>(), errors.numel());
  return {
      mean_of(errors), spread_of(by_key), {t.low, t.high}, {pooled.low, pooled.high}, mean_of(fitted_tail(margins))};
}

std::map<std::string, double> tau_quantiles(const std::vector<double>& tau) {
  std::map<std::string, double> quantiles;
  for (const double q : {0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99})
    if (!tau.empty()) quantiles[fmt::format("{:g}", q)] = quantile(tau, q);
  return quantiles;
}

TailValidity tail_validity(const TailTables& tables, const AccessTables& access, const at::Tensor& measured) {
  const auto& linear = tables.linear_margin;
  const auto image_error = to_doubles(measured.le(0).to(at::kDouble).mean(1));
  TailValidity validity;
  validity.margins = agreement_of(linear.flatten(), measured.flatten());
  validity.relative_error = mean_of((linear - measured).abs()) / measured.flatten().std().item<double>();
  validity.image_correlation = correlation(to_doubles(tables.column(tail_jacobian)), image_error);
  validity.image_margin_correlation = correlation(to_doubles(linear.mean(1)), to_doubles(measured.mean(1)));
  validity.switched_share = mean_of(access.switched);
  return validity;
}

SpanFigures span_figures(const TailTables& tables, const AccessTables& access, const at::Tensor& margins) {
  const at::Tensor none = access.none(margins), valid = access.valid(margins), wrong = access.wrong(margins);
  return {mean_of(none),
          {mean_of(tables.column(shift_valid_mean)), mean_of(valid.mean(1) - none)},
          {mean_of(tables.column(shift_valid_variance).sqrt()), mean_of(valid.std(1))},
          {mean_of(tables.column(shift_wrong_variance).sqrt()), mean_of(wrong.std(1))}};
}

SectionPlot tail_plot(const DiagnoseRun::View& view, const TailTables& tables, const at::Tensor& measured) {
  Plot plot(section_plot_height);
  plot.command(
      "set xlabel 'margin of the linear model'\nset ylabel 'margin measured'\nset key left top\nset xzeroaxis\n"
      "set yzeroaxis");
  const auto points = scatter(tables.linear_margin.flatten(), measured.flatten());
  plot.curve(points, "using 1:2 with points pt 7 ps 0.3 lc rgb '#606060' title '" + view.outputs + "'");
  add_diagonal(plot, points);
  plot.end_curves();
  return {"margin_tail_" + view.name, "Margins under wrong keys, " + view.outputs, "Each point is an image and a key.",
          std::move(plot)};
}

Table tail_table(const char* title, const TailFigures& figures) {
  const auto& predicted = figures.predicted;
  const auto& measured = figures.measured;
  auto table = figure_table(fmt::format("Error with a wrong key, {}.", title), {"error with a wrong key", "value"});
  add_row(table, {"(a) Gaussian margin to the closest rival", number_text(predicted.gaussian)});
  add_row(table, {"(b) Gaussian scores through the Jacobian", number_text(predicted.jacobian_gaussian)});
  add_row(table, {"(c) Cantelli, of the linear model, from above", number_text(predicted.cantelli_high)});
  add_row(table, {"(c) Cantelli, of the linear model, from below", number_text(predicted.cantelli_low)});
  add_row(table, {"(d) Hoeffding, of the linear model, from above", number_text(predicted.hoeffding)});
  add_row(table, {"(e) measured", number_text(measured.error)});
  const auto& interval = measured.t_interval_over_keys;
  if (interval.size() == 2)
    add_row(table, {"(e) 95 % interval over keys",
                    fmt::format("{} to {}", number_text(interval[0]), number_text(interval[1]))});
  add_row(table, {"(e) Gaussian fit to the measured margins", number_text(measured.gaussian_fit)});
  return table;
}

Paragraph validity_text(const TailValidity& validity) {
  return {fmt::format(
      "Linear model against the network under the same keys: mean absolute difference of the margins {} ({} of their "
      "sd), correlation {}; over images, error predicted and measured {}, margin {}; {} of the observed activations "
      "change sign.",
      number_text(validity.margins.mean_absolute_error), number_text(validity.relative_error),
      number_text(validity.margins.correlation), number_text(validity.image_correlation),
      number_text(validity.image_margin_correlation), number_text(validity.switched_share))};
}

Paragraph span_text(const SpanFigures& span) {
  const auto pair = [](const Comparison& figure) {
    return fmt::format("{} predicted, {} measured", number_text(figure.predicted), number_text(figure.measured));
  };
  return {fmt::format("Margin: {} without a key. Valid keys move it by {}; sd over valid keys {}; over wrong keys {}.",
                      number_text(span.no_key_margin), pair(span.valid_shift), pair(span.valid_sd),
                      pair(span.wrong_sd))};
}

}  // namespace

Measured measure_margin_tail(DiagnoseRun& run, const AccessTables& access) {
  ByView<TailFigures> views;
  std::vector<SectionPlot> plots;
  for (std::size_t v = 0; v < run.views().size(); ++v) {
    const auto& view = run.views()[v];
    const auto tables = tail_tables(run, view.judge);
    const at::Tensor measured = access.wrong(access.margins[v]);
    views.set(view.name, {predicted_errors(tables, run.space().kind().inject), measured_errors(measured),
                          tau_quantiles(defined_doubles(tables.column(tail_tau))),
                          tail_validity(tables, access, measured), span_figures(tables, access, access.margins[v])});
    plots.push_back(tail_plot(view, tables, measured));
  }
  return {figures::to_json(views), std::move(plots)};
}

Section margin_tail_text(const nlohmann::json& json) {
  Section section{"Errors under wrong keys", {}};
  figures::from_json<ByView<TailFigures>>(json).each([&](const char* title, const TailFigures& figures) {
    section.blocks.emplace_back(tail_table(title, figures));
    section.blocks.emplace_back(validity_text(figures.validity));
    section.blocks.emplace_back(span_text(figures.span));
  });
  if (!section.blocks.empty())
    section.blocks.emplace_back(
        Paragraph{"None of the predictions bounds the error of the network. (c) and (d) bound the linear model, and of "
                  "it the margin to one rival."});
  return section;
}

}  // namespace spankey
