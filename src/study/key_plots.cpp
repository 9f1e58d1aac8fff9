#include "study/key_plots.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"

namespace spankey {
namespace {

constexpr std::size_t most_family_panels = 3;
constexpr std::size_t most_family_columns = 12;
constexpr std::size_t most_profiles = 6;

std::vector<const Group*> groups_with_families(const DataStudy& study) {
  std::vector<const Group*> groups;
  for (const auto& group : study.groups)
    if (family_figures(group.runs.front()->result).size() > 1) groups.push_back(&group);
  return groups;
}

std::vector<std::string> family_names(const std::vector<const Group*>& groups) {
  std::vector<std::string> names;
  for (const auto* group : groups)
    for (const auto& family : family_figures(group->runs.front()->result))
      if (std::find(names.begin(), names.end(), family.name) == names.end()) names.push_back(family.name);
  return names;
}

struct FamilyOverSeeds {
  std::vector<double> means;
  double min = 1.0, max = 0.0;
  double mean() const { return summarise(means).mean; }
};

std::optional<FamilyOverSeeds> over_seeds(const Group& group, const std::string& name) {
  FamilyOverSeeds all;
  for (const auto* run : group.runs)
    for (const auto& family : family_figures(run->result)) {
      if (family.name != name) continue;
      all.means.push_back(*figure(family.figures, "accuracy"));
      all.min = std::min(all.min, figure(family.figures, "accuracy.min").value_or(all.means.back()));
      all.max = std::max(all.max, figure(family.figures, "accuracy.max").value_or(all.means.back()));
    }
  return all.means.empty() ? std::nullopt : std::optional(all);
}

// `views`: as_shipped, and class_logits where the network can reject.
std::optional<nlohmann::json> read_acceptance(const RunRecord& run) {
  const auto path = run.directory / "diagnose" / "diagnose.json";
  std::error_code error;
  if (!std::filesystem::exists(path, error)) return std::nullopt;
  const auto json = nlohmann::json::parse(read_text(path), nullptr, /*allow_exceptions=*/false);
  try {
    auto views = json.at("acceptance");
    for (const auto& view : views)
      for (const auto& row : view.at("profile"))
        for (const char* name : {"cosine", "accuracy"}) (void)row.at(name).get<double>();
    return views;
  } catch (const nlohmann::json::exception& problem) {
    log::warning("{}: the acceptance profile is left out: {}", path.string(), problem.what());
    return std::nullopt;
  }
}

std::string view_name(const std::string& view) {
  return view == "as_shipped" ? "as shipped" : "rejection ignored";
}

std::string figure_or_dash(const nlohmann::json& json, const char* path, int decimals) {
  const auto value = figure(json, path);
  return value ? fmt::format("{:.{}f}", *value, decimals) : "-";
}

}  // namespace

std::vector<FamilyFigures> family_figures(const nlohmann::json& result) {
  std::vector<FamilyFigures> found;
  const auto families = result.find("families");
  if (families == result.end() || !families->is_object()) return found;
  for (const auto& [name, figures] : families->items())
    if (figure(figures, "accuracy")) found.push_back({name, figures});
  return found;
}

std::optional<Table> family_table(const DataStudy& study) {
  auto groups = groups_with_families(study);
  if (groups.empty()) return std::nullopt;
  const auto left_out = groups.size() - std::min(groups.size(), most_family_columns);
  groups.resize(groups.size() - left_out);
  Table table{"Accuracy by family of wrong keys: mean over seeds and keys / the best single key of any seed." +
                  (left_out > 0 ? fmt::format(" {} more groups are in trials.csv.", left_out) : std::string()),
              {{"family", false}},
              {}};
  for (const auto* group : groups) table.columns.push_back({group->label});
  for (const auto& name : family_names(groups)) {
    std::vector<Cell> row{{name}};
    for (const auto* group : groups) {
      const auto family = over_seeds(*group, name);
      row.push_back({family ? fmt::format("{:.4f} / {:.4f}", family->mean(), family->max) : "not run"});
    }
    table.rows.push_back(std::move(row));
  }
  return table;
}

std::vector<Figure> draw_families(const DataStudy& study, const std::string& prefix, PlotFolder& folder) {
  auto groups = groups_with_families(study);
  if (groups.empty()) return {};
  const auto names = family_names(groups);
  const bool all = groups.size() <= most_family_panels;
  if (!all) groups.resize(most_family_panels);
  Plot plot(120 + 26 * static_cast<int>(names.size()));
  plot.command(
      fmt::format("set multiplot layout 1,{}\nset xrange [-0.02:1.02]\nset yrange [{}:-0.6]\nset ytics {}\n"
                  "set xlabel 'accuracy'\nunset key",
                  groups.size(), static_cast<double>(names.size()) - 0.4, tics_text(names)));
  for (const auto* group : groups) {
    PlotBlock rows;
    for (std::size_t i = 0; i < names.size(); ++i)
      if (const auto family = over_seeds(*group, names[i]))
        rows.push_back({family->mean(), static_cast<double>(i), family->min, family->max});
    plot.command("set title " + plot_text(group->label, groups.size() == 1 ? 110 : 40));
    plot.curve(std::move(rows), "using 1:2:3:4 with xerrorbars pt 7 ps 0.9 lw 1.4 lc rgb '#8e44ad'");
    const double correct = group->mean("correct_key.accuracy");
    plot.curve({{correct, -0.6}, {correct, static_cast<double>(names.size()) - 0.4}},
               "using 1:2 with lines lw 1.4 dt 2 lc rgb '#2878b5'");
    plot.end_curves();
  }
  plot.command("unset multiplot");
  const auto figure = folder.draw(prefix + "families", plot, "Accuracy by family of wrong keys",
                                  std::string("Points are means, bars reach from the worst to the best key over all "
                                              "seeds; the dashed line is the correct key.") +
                                      (all ? "" : " The first three groups; all stand in the table."));
  return figure ? std::vector<Figure>{*figure} : std::vector<Figure>();
}

AcceptanceReport acceptance_report(const std::vector<const RunRecord*>& runs, const std::vector<std::string>& labels,
                                   const std::string& prefix, PlotFolder& folder) {
  Table table{
      "Nearness to a valid key: the cosine at which half of its accuracy is reached, and -log2 of the probability "
      "that a random key comes so near. Not a security level: gradients bypass it.",
      {{"run", false}, {"answers", false}, {"c50"}, {"guess bits"}},
      {}};
  Plot plot(440);
  plot.command(
      "set xlabel 'cosine to a valid key'\nset ylabel 'accuracy'\nset yrange [-0.02:1.02]\nset key below maxrows 4");
  int curves = 0;
  std::size_t profiles = 0;
  for (std::size_t i = 0; i < runs.size() && profiles < most_profiles; ++i) {
    const auto views = read_acceptance(*runs[i]);
    if (!views) continue;
    ++profiles;
    for (const auto& [view, figures] : views->items()) {
      table.rows.push_back({{labels[i]},
                            {view_name(view)},
                            {figure_or_dash(figures, "c50", 2)},
                            {figure_or_dash(figures, "guess_bits", 0)}});
      PlotBlock rows;
      for (const auto& row : figures.at("profile"))
        rows.push_back({row.at("cosine").get<double>(), row.at("accuracy").get<double>()});
      plot.curve(std::move(rows),
                 fmt::format("using 1:2 with linespoints lw 1.5 dt {0} pt {1} lc {2} title {3}", curves % 5 + 1,
                             4 + 2 * (curves % 5), curves + 1, plot_text(labels[i] + ": " + view_name(view), 90)));
      ++curves;
    }
  }
  if (curves == 0) return {};
  plot.end_curves();
  return {std::move(table), folder.draw(prefix + "acceptance", plot, "Acceptance profile",
                                        "Accuracy by nearness to a valid key, the rest of the key random; measured by "
                                        "`spankey diagnose`. Not a security level: gradients bypass it.")};
}

}  // namespace spankey
