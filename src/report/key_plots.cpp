#include "report/key_plots.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"

namespace spankey {
namespace {

constexpr std::size_t most_family_panels = 12;
constexpr std::size_t most_family_columns = 6;  // of groups; with more, groups are rows
constexpr std::size_t most_profiles = 6;

// To the vanilla twin all keys are alike.
std::vector<const Group*> groups_with_families(const DataStudy& study) {
  std::vector<const Group*> groups;
  for (const auto& group : study.groups)
    if (family_figures(group.runs.front()->result).size() > 1 && group.config().train.twin != Twin::vanilla)
      groups.push_back(&group);
  return groups;
}

std::vector<std::string> family_names(const std::vector<const Group*>& groups) {
  std::vector<std::string> names;
  for (const auto* group : groups)
    for (const auto& family : family_figures(group->runs.front()->result))
      if (std::find(names.begin(), names.end(), family.name) == names.end()) names.push_back(family.name);
  return names;
}

// The figure of a key that was tried on one batch only means little.
bool tries_single_keys(const Group& group) {
  return group.config().eval.keys > 0;
}

std::string batch_keys_note(const std::vector<const Group*>& groups, const char* note) {
  return std::all_of(groups.begin(), groups.end(), [](const Group* group) { return tries_single_keys(*group); })
             ? std::string()
             : fmt::format(" {} where every batch had a key of its own (the reference's protocol).", note);
}

struct FamilyOverSeeds {
  std::vector<double> means;
  double min = 1.0, max = 0.0;  // of a single key
  double mean() const { return summarise(means).mean; }
};

std::optional<FamilyOverSeeds> over_seeds(const Group& group, const std::string& name) {
  FamilyOverSeeds all;
  for (const auto* run : group.runs)
    for (const auto& family : family_figures(run->result)) {
      if (family.name != name) continue;
      all.means.push_back(*number_at(family.figures, "accuracy"));
      all.min = std::min(all.min, number_at(family.figures, "accuracy.min").value_or(all.means.back()));
      all.max = std::max(all.max, number_at(family.figures, "accuracy.max").value_or(all.means.back()));
    }
  return all.means.empty() ? std::nullopt : std::optional(all);
}

// `views` holds as_shipped, and class_logits where the network can reject.
std::optional<nlohmann::json> read_acceptance(const RunRecord& run) {
  const auto path = run.directory / "diagnose" / "diagnose.json";
  std::error_code error;
  if (!std::filesystem::exists(path, error)) return std::nullopt;
  try {
    const auto json = read_json(path);
    auto views = json.at("acceptance");
    for (const auto& view : views)
      for (const auto& row : view.at("profile"))
        for (const char* name : {"cosine", "accuracy"}) (void)row.at(name).get<double>();
    return views;
  } catch (const std::exception& problem) {
    log::warning("{}: the acceptance profile is left out: {}", path.string(), problem.what());
    return std::nullopt;
  }
}

// The name of one of a run's `views`. Without rejection there is only one way to read the answers.
std::string view_name(const std::string& view, const nlohmann::json& views) {
  return view == "as_shipped" || views.size() == 1 ? "as shipped" : "rejection ignored";
}

std::string figure_or_dash(const nlohmann::json& json, const char* path, int decimals) {
  const auto value = number_at(json, path);
  return value ? fmt::format("{:.{}f}", *value, decimals) : "-";
}

// Points {mean, place of the family, worst key, best key}. The bar has no length where there is no figure of a single
// key.
PlotBlock family_points(const Group& group, const std::vector<std::string>& names) {
  PlotBlock points;
  const bool bar = tries_single_keys(group);
  for (std::size_t name = 0; name < names.size(); ++name) {
    const auto family = over_seeds(group, names[name]);
    if (!family) continue;
    const double mean = family->mean();
    points.push_back({mean, static_cast<double>(name), bar ? family->min : mean, bar ? family->max : mean});
  }
  return points;
}

}  // namespace

std::vector<FamilyFigures> family_figures(const nlohmann::json& result) {
  std::vector<FamilyFigures> found;
  const auto families = result.find("families");
  if (families == result.end() || !families->is_object()) return found;
  for (const auto& [name, figures] : families->items())
    if (number_at(figures, "accuracy")) found.push_back({name, figures});
  return found;
}

std::optional<Table> family_table(const DataStudy& study) {
  const auto groups = groups_with_families(study);
  if (groups.empty()) return std::nullopt;
  const auto names = family_names(groups);
  const auto cell = [](const Group& group, const std::string& name) {
    const auto family = over_seeds(group, name);
    if (!family) return Cell{"not run"};
    return Cell{tries_single_keys(group) ? fmt::format("{:.4f} / {:.4f}", family->mean(), family->max)
                                         : fmt::format("{:.4f}", family->mean())};
  };
  const bool groups_are_rows = groups.size() > most_family_columns;
  Table table{
      fmt::format("Accuracy by family of wrong keys: mean over seeds and keys / the best single key of any seed.{}",
                  batch_keys_note(groups, "The mean alone")),
      {{groups_are_rows ? "group" : "family", false}},
      {}};
  if (groups_are_rows) {
    for (const auto& name : names) table.columns.push_back({name});
    for (const auto* group : groups) {
      auto& row = table.rows.emplace_back(std::vector<Cell>{{group->label}});
      for (const auto& name : names) row.push_back(cell(*group, name));
    }
  } else {
    for (const auto* group : groups) table.columns.push_back({group->label});
    for (const auto& name : names) {
      auto& row = table.rows.emplace_back(std::vector<Cell>{{name}});
      for (const auto* group : groups) row.push_back(cell(*group, name));
    }
  }
  return table;
}

std::vector<Figure> draw_families(const DataStudy& study, const std::string& prefix, PlotFolder& folder) {
  const auto all = groups_with_families(study);
  if (all.empty()) return {};
  const auto names = family_names(all);
  const auto groups =
      evenly_chosen(all, most_family_panels, [](const Group* group) { return group->mean("wrong_key.accuracy"); });
  auto panels = arrange_panels(groups.size());
  panels.axes_height = 14 + 22 * static_cast<int>(names.size());
  panels.left = room_for(names, 20);
  Plot plot(panels);
  Legend legend;
  const std::string family_style = "xerrorbars pt 7 ps 0.9 lw 1.4 lc rgb '#9445bd'";
  const std::string correct_style = "lines lw 1.4 dt 2 lc rgb '#2878b5'";
  legend.add("wrong key: mean, worst to best key", "linespoints pt 7 ps 0.9 lw 1.4 lc rgb '#9445bd'");
  legend.add("correct key", correct_style);
  plot.command(
      fmt::format("unset key\nset xrange [-0.02:1.02]\nset xtics 0.2\nset yrange [{}:-0.6]\n{}\nset xlabel 'accuracy'",
                  static_cast<double>(names.size()) - 0.4, panels.ytics(names)));
  std::vector<std::string> titles;
  for (const auto* group : groups) titles.push_back(study.groups.size() > 1 ? group->label : std::string());
  titles = shortened(titles, panels.title_length());
  for (std::size_t i = 0; i < groups.size(); ++i) {
    plot.command(panels.place(i) + "\nset title " + plot_text(titles[i]));
    plot.curve(family_points(*groups[i], names), "using 1:2:3:4 with " + family_style + " notitle");
    const double correct = groups[i]->mean("correct_key.accuracy");
    plot.curve({{correct, -0.6}, {correct, static_cast<double>(names.size()) - 0.4}},
               "using 1:2 with " + correct_style + " notitle");
    plot.end_curves();
  }
  plot.command(legend.draw(panels));
  const auto figure = folder.draw(
      prefix + "families", plot, "Accuracy by family of wrong keys",
      fmt::format("Points are means over keys and seeds, bars reach from the worst to the best key of all "
                  "seeds.{}{}",
                  batch_keys_note(groups, "Points alone"), choice_text(groups.size(), all.size(), "groups")));
  return figure ? std::vector<Figure>{*figure} : std::vector<Figure>();
}

AcceptanceReport acceptance_report(const std::vector<const RunRecord*>& runs, const std::vector<std::string>& labels,
                                   const std::string& prefix, PlotFolder& folder) {
  Table table{
      "Nearness to a valid key: the cosine at which half of its accuracy is reached (0: any key will do), and log2 of "
      "the "
      "number of random keys it takes to come so near. Not a security level: gradients bypass it.",
      {{"run", false}, {"answers", false}, {"cosine at half the accuracy"}, {"log2 of tries"}},
      {}};
  Panels panels;
  panels.axes_height = 330;
  Plot plot(panels.height());
  plot.command(
      "set xlabel 'cosine to a valid key'\nset ylabel 'accuracy'\nset xrange [-0.02:1.02]\nset yrange [-0.02:1.02]\n"
      "set key above Left reverse maxrows 6 samplen 3");
  plot.command("if (narrow) {\nset key maxrows 12 samplen 2 font ',10'\n}");
  constexpr std::array colours{"#2878b5", "#c2551a", "#9445bd", "#5b6670", "#3a8a55", "#000000"};
  const auto short_labels = shortened(labels, 30);
  std::size_t curves = 0, profiles = 0;
  for (std::size_t i = 0; i < runs.size() && profiles < most_profiles; ++i) {
    const auto views = read_acceptance(*runs[i]);
    if (!views) continue;
    const auto colour = colours[profiles++];
    for (const auto& [view, figures] : views->items()) {
      const auto answers = view_name(view, *views);
      table.rows.push_back(
          {{labels[i]}, {answers}, {figure_or_dash(figures, "c50", 2)}, {figure_or_dash(figures, "guess_bits", 0)}});
      PlotBlock rows;
      for (const auto& row : figures.at("profile"))
        rows.push_back({row.at("cosine").get<double>(), row.at("accuracy").get<double>()});
      constexpr std::array points{7, 4, 8, 12, 10, 2, 5, 6, 9, 13, 11, 1};
      const auto title = runs.size() == 1 ? answers : short_labels[i] + ": " + answers;
      plot.curve(std::move(rows), fmt::format("using 1:2 with linespoints lw 1.5 dt {} pt {} lc rgb '{}' title {}",
                                              answers == "as shipped" ? 1 : 3, points[curves % points.size()], colour,
                                              plot_text(title)));
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
