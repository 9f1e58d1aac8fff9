// Measures how much of the network works without the key. It gives accuracies, the absorption index, and how far the
// outputs drift.
#include "diagnose/absorption.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "base/statistics.h"
#include "diagnose/section.h"
#include "diagnose/section_text.h"

namespace spankey {
namespace {

struct AccuracyFigures {
  double no_key = no_number, valid_key = no_number, wrong_key = no_number;
  std::vector<double> wrong_key_interval;  // low and high, over keys
  double relative_change_no_key = no_number, relative_change_wrong_key = no_number;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit("no_key_accuracy", self.no_key);
    visit("valid_key_accuracy", self.valid_key);
    visit("wrong_key_accuracy", self.wrong_key);
    visit("wrong_key_accuracy_interval", self.wrong_key_interval);
    visit("relative_change_no_key", self.relative_change_no_key);
    visit("relative_change_wrong_key", self.relative_change_wrong_key);
  }
};

// Outputs without a key and with a wrong one, compared with those with a valid key.
struct DriftFigures {
  double js_bits_no_key = no_number, js_bits_wrong_key = no_number;
  double disagreement_no_key = no_number, disagreement_wrong_key = no_number;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit("js_bits_no_key", self.js_bits_no_key);
    visit("js_bits_wrong_key", self.js_bits_wrong_key);
    visit("disagreement_no_key", self.disagreement_no_key);
    visit("disagreement_wrong_key", self.disagreement_wrong_key);
  }
};

struct AbsorptionFigures {
  double majority_rate = no_number;
  ByView<AccuracyFigures> views;
  double index_no_key = no_number, index_wrong_key = no_number;  // of the class logits
  DriftFigures drift;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit("majority_rate", self.majority_rate);
    ByView<AccuracyFigures>::fields(self.views, visit);
    visit("index_no_key", self.index_no_key);
    visit("index_wrong_key", self.index_wrong_key);
    visit("drift", self.drift);
  }
};

AccuracyFigures accuracy_figures(const AccessTables& access, const at::Tensor& margins) {
  AccuracyFigures figures;
  const auto right = [](const at::Tensor& table) { return table.gt(0).to(at::kDouble); };
  figures.no_key = mean_of(right(access.none(margins)));
  figures.valid_key = mean_of(right(access.valid(margins)));
  figures.wrong_key = mean_of(right(access.wrong(margins)));
  const auto interval = t_interval(to_doubles(right(access.wrong(margins)).mean(0)));
  figures.wrong_key_interval = {interval.low, interval.high};
  if (figures.valid_key > 0) {
    figures.relative_change_no_key = (figures.valid_key - figures.no_key) / figures.valid_key;
    figures.relative_change_wrong_key = (figures.valid_key - figures.wrong_key) / figures.valid_key;
  }
  return figures;
}

}  // namespace

Measured measure_absorption(DiagnoseRun& run, const AccessTables& access) {
  const auto& dataset = *run.experiment().dataset;
  AbsorptionFigures figures;
  figures.majority_rate = dataset.majority_rate(dataset.test());
  for (std::size_t v = 0; v < run.views().size(); ++v)
    figures.views.set(run.views()[v].name, accuracy_figures(access, access.margins[v]));
  // The index is about what the network knows, so it ignores the rejection.
  const auto& known = *figures.views.class_logits;
  figures.index_no_key = absorption(known.no_key, known.valid_key, figures.majority_rate);
  figures.index_wrong_key = absorption(known.wrong_key, known.valid_key, figures.majority_rate);
  figures.drift = {mean_of(access.divergence.select(1, 0)), mean_of(access.divergence.select(1, 1)),
                   mean_of(access.disagreement.select(1, 0)), mean_of(access.disagreement.select(1, 1))};
  return {figures::to_json(figures), {}};
}

Section absorption_text(const nlohmann::json& json) {
  const auto figures = figures::from_json<AbsorptionFigures>(json);
  auto table = figure_table("Right answers on the test samples.",
                            {"accuracy", "no key", "valid key", "wrong key", "relative loss without key"});
  figures.views.each([&](const char* title, const AccuracyFigures& row) {
    add_row(table, {title, number_text(row.no_key), number_text(row.valid_key), number_text(row.wrong_key),
                    number_text(row.relative_change_no_key)});
  });
  if (table.rows.empty()) return {};
  const auto& drift = figures.drift;
  return {"Absorption",
          {std::move(table),
           Paragraph{fmt::format("Absorption index (1: the key makes no difference to what the network knows, 0: no "
                                 "better than the commonest class, {}): no key {}, wrong key {}.",
                                 number_text(figures.majority_rate), number_text(figures.index_no_key),
                                 number_text(figures.index_wrong_key))},
           Paragraph{fmt::format("Outputs against those with a valid key: divergence {} bits without a key, {} with a "
                                 "wrong one; other answers {} and {}.",
                                 number_text(drift.js_bits_no_key), number_text(drift.js_bits_wrong_key),
                                 number_text(drift.disagreement_no_key), number_text(drift.disagreement_wrong_key))}}};
}

}  // namespace spankey
