#include "report/attack_section.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <tuple>
#include <utility>

#include "page/band_curves.h"
#include "record/attack_record.h"
#include "report/report_tables.h"

namespace spankey {
namespace {

constexpr std::size_t most_attack_panels = 12;

bool was_attacked(const Group& group) {
  return std::any_of(group.runs.begin(), group.runs.end(), [](const auto* run) { return !run->attacks.is_null(); });
}

// Labelled images of the cheapest attack that recovers most of what a valid key gives.
struct Price {
  bool known = false;
  double labels =
      std::numeric_limits<double>::infinity();  // of the cheapest seed; infinite where none that was tried is enough
  double tried = 0.0;                           // the most that every seed was tried with

  std::string text() const {
    if (!known) return "-";
    return std::isfinite(labels) ? fmt::format("{:.0f}", labels) : fmt::format("more than {:.0f}", tried);
  }
};

Price price_of(const Group& group) {
  Price price{.tried = std::numeric_limits<double>::infinity()};
  for (const auto* run : group.runs) {
    if (run->attacks.is_null() || !run->result.at("attacks").at("priced").get<bool>()) continue;
    price.known = true;
    price.labels = std::min(price.labels, number_at(run->result, "attacks.price").value_or(price.labels));
    price.tried = std::min(price.tried, number_at(run->result, "attacks.most_labels").value_or(0.0));
  }
  return price;
}

double worst_case_of(const Group& group) {
  const auto worst = group.spread("attacks.worst_case.access");
  return worst ? worst->summary.max : 0.0;
}

struct Ranked {
  const Group* group;
  Price price;
  double worst;

  bool operator<(const Ranked& other) const {
    return std::tuple(!price.known, -price.labels, worst) <
           std::tuple(!other.price.known, -other.price.labels, other.worst);
  }
};

std::vector<Ranked> ranked_groups(const DataStudy& study) {
  std::vector<Ranked> groups;
  for (const auto& group : study.groups)
    if (was_attacked(group)) groups.push_back({&group, price_of(group), worst_case_of(group)});
  std::stable_sort(groups.begin(), groups.end());
  return groups;
}

std::string presets_of(const Group& group) {
  std::vector<std::string> presets;
  for (const auto* run : group.runs)
    if (!run->attacks.is_null())
      if (const auto preset = run->result.at("attacks").at("preset").get<std::string>();
          std::find(presets.begin(), presets.end(), preset) == presets.end())
        presets.push_back(preset);
  return fmt::format("{}", fmt::join(presets, ", "));
}

std::vector<Cell> attack_row_of(const Ranked& one) {
  std::vector<Cell> row{{one.group->label}, {mean_sd(*one.group, "correct_key.accuracy")}};
  for (const auto& figure : attack_figures())
    row.push_back({mean_sd(*one.group, fmt::format("attacks.{}", figure.name))});
  row.push_back({fmt::format("{:.4f}", one.worst)});
  row.push_back({one.price.text()});
  row.push_back({presets_of(*one.group)});
  return row;
}

// The curves of the runs of a group as one: means of the means, and the extremes.
std::vector<BandCurve> attack_curves_of(const Group& group) {
  struct Point {
    double sum = 0.0, count = 0.0, low = 1.0, high = 0.0;
  };
  std::vector<std::string> titles;
  std::map<std::string, std::map<double, Point>> points;
  for (const auto* run : group.runs) {
    if (run->attacks.is_null()) continue;
    for (const auto& curve : curves_by_images(run->attacks)) {
      if (!points.contains(curve.title)) titles.push_back(curve.title);
      for (const auto& point : curve.points) {
        auto& all = points[curve.title][point[0]];
        all.sum += point[1];
        all.count += 1.0;
        all.low = std::min(all.low, point[2]);
        all.high = std::max(all.high, point[3]);
      }
    }
  }
  std::vector<BandCurve> curves;
  for (const auto& title : titles) {
    auto& curve = curves.emplace_back(BandCurve{title, {}});
    for (const auto& [images, all] : points.at(title))
      curve.points.push_back({images, all.sum / all.count, all.low, all.high});
  }
  return curves;
}

}  // namespace

std::string price_of_entry(const Group& group) {
  const auto price = price_of(group);
  return price.known ? price.text() : std::string();
}

std::optional<Table> attack_table(const DataStudy& study) {
  const auto groups = ranked_groups(study);
  if (groups.empty()) return std::nullopt;
  Table table{
      fmt::format(
          "What `spankey attack` got without a valid key from {} of {} groups, mean ± sd over seeds; the best form "
          "of each attack with so many images. Ranked by price of entry: the labelled images with which an "
          "attack recovers 0.9 of what a valid key gives above chance, of the cheapest seed (0: none is needed), "
          "then by worst case, of the worst seed. What does not exceed training from scratch on the same images "
          "has learnt nothing from the stolen network. A dash: not tried, or nothing to recover.",
          groups.size(), study.groups.size()),
      {{"group", false}, {"correct key"}},
      {}};
  for (const auto& figure : attack_figures())
    table.columns.push_back({std::string(figure.title), true, fmt::format("attacks: {}", figure.ids)});
  table.columns.push_back({"worst case", true, "of all attacks without a valid key"});
  table.columns.push_back({"price of entry", true, "labelled images that recover 0.9"});
  table.columns.push_back({"preset", false});
  for (const auto& one : groups) table.rows.push_back(attack_row_of(one));
  return table;
}

std::vector<Figure> draw_attack_curves(const DataStudy& study, const std::string& prefix, PlotFolder& folder) {
  auto all = ranked_groups(study);
  std::erase_if(all, [](const Ranked& one) { return attack_curves_of(*one.group).empty(); });
  if (all.empty()) return {};
  const auto shown =
      evenly_chosen(all, most_attack_panels, [](const Ranked& one) { return one.group->mean("wrong_key.accuracy"); });
  std::vector<std::vector<BandCurve>> curves;
  std::vector<std::string> titles;
  for (const auto& one : shown) {
    curves.push_back(attack_curves_of(*one.group));
    titles.push_back(study.groups.size() > 1 ? one.group->label : std::string());
  }
  const BandCurves bands(curves);
  const auto panels = arrange_panels(shown.size());
  titles = shortened(titles, panels.title_length());
  Plot plot(panels);
  plot.command("unset key\nset xlabel 'images of the attacker'");
  for (std::size_t i = 0; i < shown.size(); ++i) {
    plot.command(
        fmt::format("{}\nset title {}\n{}", panels.place(i), plot_text(titles[i]), panels.ylabel(i, "accuracy")));
    bands.plot(plot, i, shown[i].group->mean("correct_key.accuracy"), shown[i].group->mean("majority_rate"));
  }
  plot.command(bands.legend().draw(panels));
  const auto figure = folder.draw(
      prefix + "accuracy_by_images", plot, "Accuracy of attacks by images",
      "Lines are means over seeds, bands reach from the worst to the best attack seed of any seed; of an attack that "
      "comes in several forms the best. Dashed: a correct key; dash-dotted: always the commonest class." +
          choice_text(shown.size(), all.size(), "groups"));
  return figure ? std::vector<Figure>{*figure} : std::vector<Figure>();
}

std::string attacks_not_run_note(const DataStudy& study, bool twins) {
  std::size_t keyed = 0, attacked = 0, scratch = 0;
  for (const auto& group : study.groups) {
    if (group.config().train.twin == Twin::vanilla) continue;  // it has no key that could be attacked
    ++keyed;
    attacked +=
        std::all_of(group.runs.begin(), group.runs.end(), [](const auto* run) { return !run->attacks.is_null(); });
    scratch += group.spread("attacks.scratch_10") || group.spread("attacks.scratch_60") ? 1 : 0;
  }
  std::vector<std::string> nowhere, somewhere;
  if (!twins) nowhere.emplace_back("vanilla twins");
  for (const auto& [what, groups] : {std::pair("attacks", attacked), std::pair("training from scratch", scratch)}) {
    if (groups == 0) nowhere.emplace_back(what);
    if (groups > 0 && groups < keyed) somewhere.emplace_back(what);
  }
  std::string text;
  if (!nowhere.empty()) text += fmt::format(" Not run: {}.", fmt::join(nowhere, ", "));
  if (!somewhere.empty()) text += fmt::format(" Not run in some groups: {}.", fmt::join(somewhere, ", "));
  return text;
}

}  // namespace spankey
