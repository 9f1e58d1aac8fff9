#include "study/study_plots.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

namespace spankey {
namespace {

constexpr std::size_t groups_in_a_figure = 36;
constexpr std::size_t most_run_figures = 6;
constexpr std::size_t most_panels = 3;
constexpr std::size_t most_heat_maps = 4;
constexpr std::size_t most_levels_of_heat_map = 12;

std::vector<double> seed_values(const Group& group, const std::string& path) {
  const auto spread = group.spread(path);
  return spread ? spread->values : std::vector<double>();
}

bool can_reject(const Group& group) {
  return group.spread("no_key.reject_fraction").has_value();
}

// The rejection can be ignored only where there is one.
bool applies(const Series& series, const Group& group) {
  return !series.path.ends_with("strip_accuracy") || can_reject(group);
}

void plot_rows_of_runs(Plot& plot, const std::vector<const Group*>& groups) {
  const auto& all = accuracy_series();
  for (std::size_t s = 0; s < all.size(); ++s) {
    // Side by side within the row, so that points do not hide each other.
    const double offset = 0.18 * (static_cast<double>(s) - static_cast<double>(all.size() - 1) / 2);
    PlotBlock points;
    for (std::size_t row = 0; row < groups.size(); ++row)
      if (applies(all[s], *groups[row]))
        for (const double value : seed_values(*groups[row], all[s].path))
          points.push_back({value, static_cast<double>(row) + offset});
    plot.curve(std::move(points), fmt::format("using 1:2 with points {} title '{}'", all[s].points(), all[s].title));
  }
  const double majority = groups.front()->mean("majority_rate"), last = static_cast<double>(groups.size()) - 0.4;
  plot.curve({{majority, -0.6}, {majority, last}}, "using 1:2 with lines lw 1.2 dt 5 lc rgb '#7d8790' notitle");
  plot.end_curves();
}

// Groups of a study that are alike but for some keys.
struct Slice {
  std::vector<const Group*> groups;
  std::string fixed;  // what they share of the varied keys, for people
};

std::vector<Slice> slices(const DataStudy& study, const std::vector<std::string>& free) {
  std::vector<Slice> found;
  for (const auto& group : study.groups) {
    std::vector<std::string> fixed;
    for (const auto& key : study.varied)
      if (std::find(free.begin(), free.end(), key) == free.end())
        fixed.push_back(fmt::format("{} = {}", key, plain_value(group.keys.at(key))));
    const auto text = fmt::format("{}", fmt::join(fixed, ", "));
    auto at = std::find_if(found.begin(), found.end(), [&](const Slice& slice) { return slice.fixed == text; });
    if (at == found.end()) at = found.insert(found.end(), {{}, text});
    at->groups.push_back(&group);
  }
  std::stable_sort(found.begin(), found.end(),
                   [](const Slice& a, const Slice& b) { return a.groups.size() > b.groups.size(); });
  return found;
}

double level_of(const Group& group, const std::string& key) {
  return number_value(group.keys.at(key)).value_or(0.0);
}

void plot_axis_panel(Plot& plot, const Slice& slice, const std::string& key) {
  for (const auto& series : accuracy_series()) {
    PlotBlock means, points;
    for (const auto* group : slice.groups) {
      const auto spread = group->spread(series.path);
      if (!spread || !applies(series, *group)) continue;
      const double x = level_of(*group, key);
      means.push_back({x, spread->summary.mean, spread->summary.min, spread->summary.max});
      for (const double value : spread->values) points.push_back({x, value});
    }
    if (means.empty()) continue;
    if (series.path == "no_key.accuracy")  // not controlled by the loss: every seed, nothing averaged
      plot.curve(std::move(points), fmt::format("using 1:2 with points {} title '{}'", series.points(), series.title));
    else
      plot.curve(std::move(means), fmt::format("using 1:2:3:4 with yerrorlines {} dt {} title '{}'", series.points(),
                                               series.dash, series.title));
  }
  plot.end_curves();
}

std::string axis_range(const std::vector<double>& levels) {
  const double low = levels.front(), high = levels.back();
  const bool logarithmic = low > 0 && high / low >= 8;
  const double margin = logarithmic ? std::pow(high / low, 0.06) : 0.06 * (high - low);
  std::string tics;
  for (const double level : levels) tics += fmt::format("{}{:g}", tics.empty() ? "" : ", ", level);
  return fmt::format("{}set xrange [{}:{}]\nset xtics ({})", logarithmic ? "set logscale x\n" : "",
                     logarithmic ? low / margin : low - margin, logarithmic ? high * margin : high + margin, tics);
}

// Settings on one line each where they are long.
std::string panel_title(const std::string& fixed, std::size_t panels) {
  return plot_text(fixed, panels == 1 ? 110 : panels == 2 ? 56 : 40);
}

std::optional<Figure> draw_axis(const DataStudy& study, const std::string& key, const std::string& prefix,
                                PlotFolder& folder) {
  auto all = slices(study, {key});
  const auto longest = all.front().groups.size();
  // With two values there is a line to be seen only where nothing else varies; a heat map shows it otherwise.
  if (longest < 2 || (longest == 2 && study.varied.size() > 1)) return std::nullopt;
  std::erase_if(all, [&](const Slice& slice) { return slice.groups.size() < longest; });
  if (all.size() > most_panels) all.resize(most_panels);
  Plot plot(440);
  plot.command(fmt::format("set multiplot layout 1,{}", all.size()));
  plot.command("set yrange [-0.02:1.02]\nset key below maxrows 2 samplen 2.5");
  for (const auto& slice : all) {
    std::vector<double> levels;
    for (const auto* group : slice.groups) levels.push_back(level_of(*group, key));
    std::sort(levels.begin(), levels.end());
    plot.command(axis_range(levels));
    plot.command(fmt::format("set title {}\nset xlabel {}\nset ylabel {}", panel_title(slice.fixed, all.size()),
                             plot_text(key), &slice == &all.front() ? "'accuracy'" : "''"));
    plot_axis_panel(plot, slice, key);
  }
  plot.command("unset multiplot");
  return folder.draw(
      prefix + "axis_" + key, plot, "Accuracy over " + key,
      "Test split. Lines join means over seeds, bars reach from the lowest to the highest seed. Without a "
      "key every seed is a point: nothing is averaged there.");
}

bool is_full_grid(const Slice& slice, const std::string& a, const std::string& b) {
  std::vector<std::string> rows, columns;
  const auto note = [](std::vector<std::string>& seen, const std::string& value) {
    if (std::find(seen.begin(), seen.end(), value) == seen.end()) seen.push_back(value);
  };
  for (const auto* group : slice.groups) {
    note(columns, group->keys.at(a));
    note(rows, group->keys.at(b));
  }
  const auto most = std::max(rows.size(), columns.size());
  return rows.size() > 1 && columns.size() > 1 && most <= most_levels_of_heat_map &&
         slice.groups.size() == rows.size() * columns.size();
}

std::vector<std::string> levels_in(const DataStudy& study, const Slice& slice, const std::string& key) {
  auto levels = study.levels(key);
  std::erase_if(levels, [&](const std::string& level) {
    return std::none_of(slice.groups.begin(), slice.groups.end(),
                        [&](const Group* group) { return group->keys.at(key) == level; });
  });
  return levels;
}

void plot_heat_panel(Plot& plot, const Slice& slice, const std::string& path, const std::string& a,
                     const std::vector<std::string>& columns, const std::string& b,
                     const std::vector<std::string>& rows) {
  PlotBlock cells, on_light, on_dark;
  for (std::size_t y = 0; y < rows.size(); ++y)
    for (std::size_t x = 0; x < columns.size(); ++x)
      for (const auto* group : slice.groups) {
        if (group->keys.at(a) != columns[x] || group->keys.at(b) != rows[y]) continue;
        const double value = group->mean(path);
        cells.push_back({static_cast<double>(x), static_cast<double>(y), value});
        (value > 0.5 ? on_dark : on_light).push_back(cells.back());
      }
  plot.curve(std::move(cells), "using 1:2:3 with image pixels notitle");
  plot.curve(std::move(on_light), "using 1:2:(sprintf('%.3f', $3)) with labels tc rgb '#000001' notitle");
  plot.curve(std::move(on_dark), "using 1:2:(sprintf('%.3f', $3)) with labels tc rgb '#fffffe' notitle");
  plot.end_curves();
}

std::vector<std::string> plain_values(std::vector<std::string> values) {
  for (auto& value : values) value = plain_value(value);
  return values;
}

std::optional<Figure> draw_heat_map(const DataStudy& study, const Slice& slice, const std::string& a,
                                    const std::string& b, const std::string& prefix, PlotFolder& folder) {
  const auto columns = levels_in(study, slice, a), rows = levels_in(study, slice, b);
  Plot plot(170 + 34 * static_cast<int>(rows.size()));
  plot.command(
      "set multiplot layout 1,3\nunset grid\nunset colorbox\nset cbrange [0:1]\nset tics out scale 0\n"
      "set palette defined (0 '#f4f8fc', 1 '#0b3c73')");
  plot.command(fmt::format("set xrange [-0.5:{}]\nset yrange [-0.5:{}]\nset xlabel {}\nset xtics {}\nset ytics {}",
                           static_cast<double>(columns.size()) - 0.5, static_cast<double>(rows.size()) - 0.5,
                           plot_text(a), tics_text(plain_values(columns)), tics_text(plain_values(rows))));
  for (const auto* path : {"correct_key.accuracy", "no_key.accuracy", "wrong_key.accuracy"}) {
    const std::string name = std::string(path).substr(0, std::string(path).find('_'));
    plot.command(fmt::format("set title '{} key'\nset ylabel {}", name, name == "correct" ? plot_text(b) : "''"));
    plot_heat_panel(plot, slice, path, a, columns, b, rows);
  }
  plot.command("unset multiplot");
  return folder.draw(prefix + "heat_" + a + "_" + b, plot, fmt::format("Accuracy over {} and {}", a, b),
                     "Test split, mean over seeds; darker is higher." +
                         (slice.fixed.empty() ? std::string() : " All with " + slice.fixed + "."));
}

}  // namespace

std::vector<Figure> draw_runs(const DataStudy& study, const std::string& prefix, PlotFolder& folder) {
  std::vector<Figure> figures;
  const auto parts = (study.groups.size() + groups_in_a_figure - 1) / groups_in_a_figure;
  for (std::size_t part = 0; part < std::min(parts, most_run_figures); ++part) {
    std::vector<const Group*> groups;
    std::vector<std::string> labels;
    for (auto i = part * groups_in_a_figure; i < std::min(study.groups.size(), (part + 1) * groups_in_a_figure); ++i) {
      groups.push_back(&study.groups[i]);
      labels.push_back(study.groups[i].label);
    }
    Plot plot(130 + 38 * static_cast<int>(groups.size()));
    plot.command(
        fmt::format("set xrange [-0.02:1.02]\nset xlabel 'accuracy on the test split (share of samples)'\n"
                    "set yrange [{}:-0.6]\nset ytics {}\nset key above samplen 1.5",
                    static_cast<double>(groups.size()) - 0.4, tics_text(labels)));
    plot_rows_of_runs(plot, groups);
    auto figure =
        folder.draw(fmt::format("{}runs_{}", prefix, part + 1), plot,
                    parts > 1 ? fmt::format("Every run, part {} of {}", part + 1, parts) : "Every run",
                    "Each point is one seed; nothing is averaged over seeds. A wrong key's figure is the mean "
                    "over the keys tried; strip ignores the rejection. Dash-dotted: always the commonest class.");
    if (figure) figures.push_back(std::move(*figure));
  }
  return figures;
}

std::vector<Figure> draw_axes(const DataStudy& study, const std::string& prefix, PlotFolder& folder) {
  std::vector<Figure> figures;
  for (const auto& key : study.varied) {
    const auto levels = study.levels(key);
    if (!std::all_of(levels.begin(), levels.end(), [](const auto& level) { return number_value(level).has_value(); }))
      continue;
    if (auto figure = draw_axis(study, key, prefix, folder)) figures.push_back(std::move(*figure));
  }
  return figures;
}

std::vector<Figure> draw_heat_maps(const DataStudy& study, const std::string& prefix, PlotFolder& folder) {
  std::vector<Figure> figures;
  for (std::size_t j = 0; j < study.varied.size(); ++j)
    for (std::size_t i = j + 1; i < study.varied.size() && figures.size() < most_heat_maps; ++i) {
      const auto &a = study.varied[j], &b = study.varied[i];
      for (const auto& slice : slices(study, {a, b})) {
        if (!is_full_grid(slice, a, b)) continue;
        if (auto figure = draw_heat_map(study, slice, a, b, prefix, folder)) figures.push_back(std::move(*figure));
        break;
      }
    }
  return figures;
}

}  // namespace spankey
