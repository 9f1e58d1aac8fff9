// Predicts what a key does to the margin, to first order and by a path integral, beside what is measured.
#include <ATen/ATen.h>
#include <fmt/format.h>

#include <functional>

#include "diagnose/agreement.h"
#include "diagnose/section.h"
#include "diagnose/section_text.h"

namespace spankey {
namespace {

struct ChangeFigures {
  std::string from, to;
  Spread measured;
  Agreement first_order, path_integral;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit("from", self.from);
    visit("to", self.to);
    visit("measured", self.measured);
    visit("first_order", self.first_order);
    visit("path_integral", self.path_integral);
  }
};

struct ChangeTable {
  at::Tensor measured, first_order, path_integral;  // (samples)
};

// Returns one key for a batch, (1, d) for each slot.
using BatchKeys = std::function<std::vector<at::Tensor>(const DiagnoseRun::Batch&)>;

ChangeTable change_table(DiagnoseRun& run, const Judge& judge, const BatchKeys& from, const BatchKeys& to) {
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
  return {table.select(1, 0), table.select(1, 1), table.select(1, 2)};
}

ChangeFigures change_figures(const char* from, const char* to, const ChangeTable& table) {
  return {from, to, spread_of(to_doubles(table.measured)), agreement_of(table.first_order, table.measured),
          agreement_of(table.path_integral, table.measured)};
}

SectionPlot change_plot(const ChangeTable& table, const std::string& view) {
  Plot plot(section_plot_height);
  plot.command("set xlabel 'measured change of the margin (" + view +
               ")'\nset ylabel 'predicted change'\nset key left top");
  plot.curve(scatter(table.measured, table.first_order),
             "using 1:2 with points pt 1 ps 0.5 lc rgb '#808080' title 'first order'");
  const auto path = scatter(table.measured, table.path_integral);
  plot.curve(path, "using 1:2 with points pt 6 ps 0.5 lc rgb 'black' title 'path integral'");
  add_diagonal(plot, path);
  plot.end_curves();
  return {"margin_change", "Change of the margin from no key to a valid key", "Each point is an image.",
          std::move(plot)};
}

}  // namespace

Measured measure_margin_change(DiagnoseRun& run, const AccessTables&) {
  const BatchKeys none = [&](const auto&) { return run.no_keys(); };
  const BatchKeys valid = [&](const auto& batch) { return run.valid(batch.index % run.key_count()); };
  const BatchKeys wrong = [&](const auto& batch) { return run.wrong(batch.index % run.key_count()); };
  ByView<std::vector<ChangeFigures>> views;
  std::vector<SectionPlot> plots;
  for (const auto& view : run.views()) {
    const auto opened = change_table(run, view.judge, none, valid);
    views.set(view.name, {change_figures("no key", "valid key", opened),
                          change_figures("no key", "wrong key", change_table(run, view.judge, none, wrong)),
                          change_figures("valid key", "wrong key", change_table(run, view.judge, valid, wrong))});
    if (&view == &run.views().back()) plots.push_back(change_plot(opened, view.outputs));
  }
  return {figures::to_json(views), std::move(plots)};
}

Section margin_change_text(const nlohmann::json& json) {
  const auto views = figures::from_json<ByView<std::vector<ChangeFigures>>>(json);
  auto table =
      figure_table("Means over the images. Correlation and error are those between prediction and measurement.",
                   {"from, to", "measured", "first order", "correlation", "path integral", "mean absolute error"});
  views.each([&](const char* title, const std::vector<ChangeFigures>& rows) {
    for (const auto& row : rows)
      add_row(table, {fmt::format("{}: {}, {}", title, row.from, row.to), number_text(row.measured.mean),
                      number_text(row.first_order.mean), number_text(row.first_order.correlation),
                      number_text(row.path_integral.mean), number_text(row.path_integral.mean_absolute_error)});
  });
  if (table.rows.empty()) return {};
  return {"Change of the margin", {std::move(table)}};
}

}  // namespace spankey
