#include "report/study_plots.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>

#include "report/series.h"

namespace spankey {
namespace {

constexpr std::size_t groups_in_a_figure = 36;
constexpr std::size_t most_run_figures = 6;
constexpr std::size_t most_panels = 12;
constexpr std::size_t most_heat_maps = 4;
constexpr std::size_t most_heat_rows = 4;
constexpr std::size_t most_levels_of_heat_map = 12;
constexpr std::size_t most_label = 60;      // characters of a group's name
constexpr std::size_t most_wide_cells = 5;  // columns of a heat map that leave room for three decimals

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

std::vector<Series> all_series() {
  auto all = accuracy_series();
  all.push_back(worst_case_series());
  return all;
}

std::vector<Series> drawn_series(const DataStudy& study) {
  auto all = all_series();
  std::erase_if(all, [&](const Series& series) {
    return std::none_of(study.groups.begin(), study.groups.end(),
                        [&](const Group& group) { return applies(series, group); });
  });
  return all;
}

void plot_rows_of_runs(Plot& plot, const std::vector<const Group*>& groups) {
  const auto all = all_series();
  for (std::size_t s = 0; s < all.size(); ++s) {
    // Side by side within the row, so that points do not hide each other.
    const double offset = 0.17 * (static_cast<double>(s) - static_cast<double>(all.size() - 1) / 2);
    PlotBlock points;
    for (std::size_t row = 0; row < groups.size(); ++row)
      if (applies(all[s], *groups[row]))
        for (const double value : seed_values(*groups[row], all[s].path))
          points.push_back({value, static_cast<double>(row) + offset});
    plot.curve(std::move(points), "using 1:2 with points " + all[s].points() + " notitle");
  }
  const double majority = groups.front()->mean("majority_rate"), last = static_cast<double>(groups.size()) - 0.4;
  plot.curve({{majority, -0.6}, {majority, last}}, "using 1:2 with lines lw 1.2 dt 5 lc rgb '#5b6670' notitle");
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

double wrong_key_accuracy(const Slice& slice) {
  double sum = 0.0;
  for (const auto* group : slice.groups) sum += group->mean("wrong_key.accuracy");
  return sum / static_cast<double>(slice.groups.size());
}

constexpr std::string_view layers_key = "key.layers";

// The horizontal axis of a key. Numbers stand where they belong, lists of layers side by side with the shortest first.
class KeyAxis {
 public:
  KeyAxis(const DataStudy& study, std::string key) : key_(std::move(key)) {
    if (is_number()) return;
    layers_ = study.levels(key_);
    std::sort(layers_.begin(), layers_.end(), [](const std::string& a, const std::string& b) {
      return std::pair(a.size(), a) < std::pair(b.size(), b);
    });
  }

  bool is_number() const { return key_ != layers_key; }
  const std::string& key() const { return key_; }

  double at(const Group& group) const {
    const auto& value = group.keys.at(key_);
    if (is_number()) return number_value(value).value_or(0.0);
    return static_cast<double>(std::find(layers_.begin(), layers_.end(), value) - layers_.begin());
  }

  // Commands that set range and tics for these groups.
  std::string range(const std::vector<const Group*>& groups) const {
    if (!is_number())
      return fmt::format("set xrange [-0.5:{}]\nset xtics {}", static_cast<double>(layers_.size()) - 0.5,
                         tics_text(layers_));
    std::vector<double> levels;
    for (const auto* group : groups) levels.push_back(at(*group));
    std::sort(levels.begin(), levels.end());
    const double low = levels.front(), high = levels.back();
    const bool logarithmic = low > 0 && high / low >= 8;
    const double margin = logarithmic ? std::pow(high / low, 0.06) : 0.06 * (high - low);
    std::string tics;
    for (const double level : levels) tics += fmt::format("{}{:g}", tics.empty() ? "" : ", ", level);
    return fmt::format("{}set xrange [{}:{}]\nset xtics ({})", logarithmic ? "set logscale x\n" : "",
                       logarithmic ? low / margin : low - margin, logarithmic ? high * margin : high + margin, tics);
  }

 private:
  std::string key_;
  std::vector<std::string> layers_;
};

// Every seed is a point, because accuracies that the loss does not control vary widely, and the worst case is no
// average.
bool is_averaged(const Series& series) {
  return series.path != "no_key.accuracy" && series.path != worst_case_series().path;
}

void plot_axis_panel(Plot& plot, const Slice& slice, const KeyAxis& axis) {
  for (const auto& series : all_series()) {
    PlotBlock means, points;
    for (const auto* group : slice.groups) {
      const auto spread = group->spread(series.path);
      if (!spread || !applies(series, *group)) continue;
      const double x = axis.at(*group);
      means.push_back({x, spread->summary.mean, spread->summary.min, spread->summary.max});
      for (const double value : spread->values) points.push_back({x, value});
    }
    if (means.empty()) continue;
    std::sort(means.begin(), means.end());  // a line goes from left to right, however the groups are ordered
    if (!is_averaged(series)) {
      plot.curve(std::move(points), "using 1:2 with points " + series.points() + " notitle");
    } else {
      plot.curve(std::move(means),
                 fmt::format("using 1:2:3:4 with {} {} dt {} notitle", axis.is_number() ? "yerrorlines" : "yerrorbars",
                             series.points(), axis.is_number() ? series.dash : 1));
    }
  }
  plot.end_curves();
}

std::optional<Figure> draw_axis(const DataStudy& study, const KeyAxis& axis, const std::string& prefix,
                                PlotFolder& folder) {
  auto all = slices(study, {axis.key()});
  const auto longest = all.front().groups.size();
  // Two values make a useful line only where nothing else varies. Otherwise a heat map shows them.
  if (longest < 2 || (longest == 2 && study.varied.size() > 1)) return std::nullopt;
  std::erase_if(all, [&](const Slice& slice) { return slice.groups.size() < longest; });
  const auto shown = evenly_chosen(all, most_panels, wrong_key_accuracy);
  const auto panels = arrange_panels(shown.size());
  Plot plot(panels);
  plot.command("unset key\nset yrange [-0.02:1.02]\nset xlabel " + plot_text(axis.key()));
  std::vector<std::string> titles;
  for (const auto& slice : shown) titles.push_back(slice.fixed);
  titles = shortened(titles, panels.title_length());
  for (std::size_t i = 0; i < shown.size(); ++i) {
    plot.command(axis.range(shown[i].groups));
    plot.command(
        fmt::format("{}\nset title {}\n{}", panels.place(i), plot_text(titles[i]), panels.ylabel(i, "accuracy")));
    plot_axis_panel(plot, shown[i], axis);
  }
  Legend legend;
  for (const auto& series : drawn_series(study))
    legend.add(series.title, axis.is_number() && is_averaged(series)
                                 ? fmt::format("linespoints {} dt {}", series.points(), series.dash)
                                 : "points " + series.points());
  plot.command(legend.draw(panels));
  return folder.draw(prefix + "axis_" + axis.key(), plot, "Accuracy over " + axis.key(),
                     fmt::format("Test split. {} means over seeds, bars reach from the lowest to the highest seed. "
                                 "Without a key, and in the worst case, every seed is a point: nothing is averaged "
                                 "there.",
                                 axis.is_number() ? "Lines join" : "Points with bars are") +
                         choice_text(shown.size(), all.size(), "settings of the other keys"));
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

double heat_value(const Group& group, const std::string& path) {
  return path == worst_case_series().path ? group.spread(path)->summary.max : group.mean(path);
}

std::vector<std::string> levels_in(const DataStudy& study, const Slice& slice, const std::string& key) {
  auto levels = study.levels(key);
  std::erase_if(levels, [&](const std::string& level) {
    return std::none_of(slice.groups.begin(), slice.groups.end(),
                        [&](const Group* group) { return group->keys.at(key) == level; });
  });
  return levels;
}

struct HeatMap {
  std::string a, b;                        // keys along the horizontal and the vertical axis
  std::vector<std::string> columns, rows;  // their values
};

void plot_heat_panel(Plot& plot, const Slice& slice, const std::string& path, const HeatMap& map) {
  PlotBlock cells, on_light, on_dark;
  for (std::size_t y = 0; y < map.rows.size(); ++y)
    for (std::size_t x = 0; x < map.columns.size(); ++x)
      for (const auto* group : slice.groups) {
        if (group->keys.at(map.a) != map.columns[x] || group->keys.at(map.b) != map.rows[y]) continue;
        const double value = heat_value(*group, path);
        cells.push_back({static_cast<double>(x), static_cast<double>(y), value});
        (value > 0.5 ? on_dark : on_light).push_back(cells.back());
      }
  const auto label = fmt::format("using 1:2:(sprintf('%.{}f', $3)) with labels font ',11' tc rgb",
                                 map.columns.size() > most_wide_cells ? 2 : 3);
  plot.curve(std::move(cells), "using 1:2:3 with image pixels notitle");
  plot.curve(std::move(on_light), label + " '#000001' notitle");
  plot.curve(std::move(on_dark), label + " '#fffffe' notitle");
  plot.end_curves();
}

std::vector<std::string> plain_values(std::vector<std::string> values) {
  for (auto& value : values) value = plain_value(value);
  return values;
}

// The settings in which the rows of panels differ.
std::string settings_text(const std::vector<Slice>& shown) {
  if (shown.size() == 1)
    return shown.front().fixed.empty() ? std::string() : fmt::format(" All with {}.", shown.front().fixed);
  std::vector<std::string> settings;
  for (const auto& slice : shown) settings.push_back(slice.fixed);
  return fmt::format(" From above: {}.", fmt::join(settings, "; "));
}

// The slices whose maps have the values of the first.
std::vector<Slice> alike(const DataStudy& study, const std::vector<Slice>& all, const std::string& a,
                         const std::string& b) {
  auto same = all;
  std::erase_if(same, [&](const Slice& slice) {
    return levels_in(study, slice, a) != levels_in(study, all.front(), a) ||
           levels_in(study, slice, b) != levels_in(study, all.front(), b);
  });
  return same;
}

// A row of panels for each setting of the other keys, or two rows where the maps are wide.
std::optional<Figure> draw_heat_map(const DataStudy& study, const std::vector<Slice>& all, const std::string& a,
                                    const std::string& b, const std::string& prefix, PlotFolder& folder) {
  constexpr std::array figures{std::pair("correct_key.accuracy", "correct key"), std::pair("no_key.accuracy", "no key"),
                               std::pair("wrong_key.accuracy", "wrong key"),
                               std::pair("verdict.worst.accuracy", "worst case")};
  const auto shown = evenly_chosen(alike(study, all, a, b), most_heat_rows, wrong_key_accuracy);
  const HeatMap map{a, b, levels_in(study, shown.front(), a), levels_in(study, shown.front(), b)};
  Panels panels;
  panels.count = figures.size() * shown.size();
  panels.columns = map.columns.size() > most_wide_cells ? figures.size() / 2 : figures.size();
  panels.axes_height = 30 + 32 * static_cast<int>(map.rows.size());
  panels.left = 26 + room_for(plain_values(map.rows), 14);
  Plot plot(panels);
  plot.command(
      "unset key\nunset grid\nset cbrange [0:1]\nset tics out scale 0\n"
      "set palette defined (0 '#f4f8fc', 1 '#0b3c73')");
  plot.command(fmt::format("set xrange [-0.5:{}]\nset yrange [-0.5:{}]\nset xlabel {}\nset xtics {}\n{}\n{}",
                           static_cast<double>(map.columns.size()) - 0.5, static_cast<double>(map.rows.size()) - 0.5,
                           plot_text(a), tics_text(plain_values(map.columns)), panels.ytics(plain_values(map.rows)),
                           panels.colour_bar()));
  for (std::size_t i = 0; i < panels.count; ++i) {
    const auto& [path, name] = figures[i % figures.size()];
    plot.command(
        fmt::format("{}\nset title '{}'\n{}\nset ylabel offset 0.3,0", panels.place(i), name, panels.ylabel(i, b)));
    plot_heat_panel(plot, shown[i / figures.size()], path, map);
    plot.command("unset colorbox");  // one bar is enough for all panels
  }
  return folder.draw(prefix + "heat_" + a + "_" + b, plot, fmt::format("Accuracy over {} and {}", a, b),
                     "Test split; the bar above gives the accuracy of each colour. Mean over seeds, but for the worst "
                     "case, which is that of the worst "
                     "seed." +
                         settings_text(shown) + choice_text(shown.size(), all.size(), "settings of the other keys"));
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
    Panels panels;
    panels.axes_height = 20 + 44 * static_cast<int>(groups.size());
    panels.left = room_for(labels, most_label);
    Plot plot(panels);
    plot.command(
        fmt::format("unset key\nset xrange [-0.02:1.02]\nset xlabel 'accuracy on the test split'\n"
                    "set yrange [{}:-0.6]\n{}\n{}",
                    static_cast<double>(groups.size()) - 0.4, panels.ytics(labels), panels.place(0)));
    plot_rows_of_runs(plot, groups);
    Legend legend;
    for (const auto& series : drawn_series(study)) legend.add(series.title, "points " + series.points());
    plot.command(legend.draw(panels));
    auto figure = folder.draw(
        fmt::format("{}runs_{}", prefix, part + 1), plot,
        parts > 1 ? fmt::format("Every run, part {} of {}", part + 1, parts) : "Every run",
        "Each point is one seed; nothing is averaged over seeds. A wrong key's figure is the mean "
        "over the keys tried; strip ignores the rejection; worst case: the most that no key or any key tried "
        "gave, but for keys made of a valid one. Dash-dotted: always the commonest class.");
    if (figure) figures.push_back(std::move(*figure));
  }
  return figures;
}

std::vector<Figure> draw_axes(const DataStudy& study, const std::string& prefix, PlotFolder& folder) {
  std::vector<Figure> figures;
  for (const auto& key : study.varied) {
    const auto levels = study.levels(key);
    const auto is_number = [](const auto& level) { return number_value(level).has_value(); };
    if (key != layers_key && !std::all_of(levels.begin(), levels.end(), is_number)) continue;
    if (auto figure = draw_axis(study, KeyAxis(study, key), prefix, folder)) figures.push_back(std::move(*figure));
  }
  return figures;
}

std::vector<Figure> draw_heat_maps(const DataStudy& study, const std::string& prefix, PlotFolder& folder) {
  std::vector<Figure> figures;
  for (std::size_t j = 0; j < study.varied.size(); ++j)
    for (std::size_t i = j + 1; i < study.varied.size() && figures.size() < most_heat_maps; ++i) {
      const auto &a = study.varied[j], &b = study.varied[i];
      auto grids = slices(study, {a, b});
      std::erase_if(grids, [&](const Slice& slice) { return !is_full_grid(slice, a, b); });
      if (grids.empty()) continue;
      if (auto figure = draw_heat_map(study, grids, a, b, prefix, folder)) figures.push_back(std::move(*figure));
    }
  return figures;
}

}  // namespace spankey
