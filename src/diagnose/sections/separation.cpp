// Judges the key as access control, by how well the answers of a network tell valid keys from wrong ones.
#include "diagnose/separation.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>

#include "diagnose/section.h"
#include "diagnose/section_text.h"

namespace spankey {
namespace {

struct SeparationRow {
  double auroc = no_number, eer = no_number, far_at_frr = no_number;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit("auroc", self.auroc);
    visit("eer", self.eer);
    visit("far_at_frr_0.01", self.far_at_frr);
  }
};

// The figures of one score.
struct SeparationFigures {
  std::optional<SeparationRow> per_query, per_query_no_key, per_key;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit("per_query", self.per_query);
    visit("per_query_no_key", self.per_query_no_key);
    visit("per_key", self.per_key);
  }
};

SeparationRow separation_row(const std::vector<double>& holders, const std::vector<double>& impostors) {
  const auto found = separate(holders, impostors);
  return {found.auroc, found.eer, found.far_at_frr};
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

// A higher score speaks for a valid key.
struct KeyScore {
  const char *name, *title;
  at::Tensor values;  // (samples, 1 + 2 keys), as in AccessTables
};

std::vector<KeyScore> key_scores(const AccessTables& access) {
  std::vector<KeyScore> scores{{"max_probability", "largest probability", access.max_probability},
                               {"energy", "energy", access.energy}};
  if (access.reject_log_odds.numel() > 0)
    scores.push_back({"reject_log_odds", "reject log-odds", -access.reject_log_odds});
  return scores;
}

SeparationRow separation_per_key(const AccessTables& access, const at::Tensor& score) {
  return separation_row(to_doubles(access.valid(score).mean(0)), to_doubles(access.wrong(score).mean(0)));
}

}  // namespace

Measured measure_separation(DiagnoseRun&, const AccessTables& access) {
  std::map<std::string, SeparationFigures> figures;
  Plot plot(section_plot_height);
  plot.command(
      "set xlabel 'wrong keys accepted (FAR)'\nset ylabel 'valid keys accepted (1 - FRR)'\n"
      "set xrange [-0.02:1.02]\nset yrange [-0.02:1.02]\nset key right bottom");
  int dash = 0;
  for (const auto& score : key_scores(access)) {
    const auto holders = to_doubles(access.valid(score.values)), impostors = to_doubles(access.wrong(score.values));
    figures[score.name] = {separation_row(holders, impostors),
                           separation_row(holders, to_doubles(access.none(score.values))),
                           separation_per_key(access, score.values)};
    plot.curve(roc_curve(holders, impostors),
               fmt::format("using 1:2 with lines lw 2 dt {} lc rgb 'black' title '{}'", ++dash, score.title));
  }
  plot.curve({{0, 0}, {1, 1}}, "using 1:2 with lines lw 1 lc rgb '#a0a0a0' title 'chance'");
  plot.end_curves();
  // One right answer says nothing to whoever does not know the label, so only the mean over the samples counts.
  const auto right = access.margins.back().gt(0).to(at::kDouble);
  figures["challenge_accuracy"].per_key = separation_per_key(access, right);
  return {figures::to_json(figures),
          {{"separation", "Telling valid from wrong keys by one answer",
            "Each point of a curve is a threshold on the score of one answer.", std::move(plot)}}};
}

Section separation_text(const nlohmann::json& json) {
  const auto figures = figures::from_json<std::map<std::string, SeparationFigures>>(json);
  if (figures.empty()) return {};
  auto table = figure_table("How well a score of the answers tells valid from wrong keys.",
                            {"valid against wrong keys", "AUROC", "EER", "FAR at FRR 1 %"});
  for (const auto& [score, values] : figures) {
    std::string name = score;
    std::replace(name.begin(), name.end(), '_', ' ');
    const auto add = [&](const char* kind, const std::optional<SeparationRow>& row) {
      if (row)
        add_row(table,
                {name + ", " + kind, number_text(row->auroc), number_text(row->eer), number_text(row->far_at_frr)});
    };
    add("one answer", values.per_query);
    add("one answer, against no key", values.per_query_no_key);
    add("mean over the samples", values.per_key);
  }
  return {"The key as access control",
          {std::move(table),
           Paragraph{"AUROC: how often a valid key scores above a wrong one (0.5: a coin, 1: always). EER: the share "
                     "of errors where as many wrong keys are let in as valid ones are turned away. FAR at FRR 1 %: the "
                     "share of wrong keys let in (false acceptance rate) when 1 % of the valid ones may be turned away "
                     "(false rejection rate)."}}};
}

}  // namespace spankey
