#include "study/learning_curve.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <fstream>
#include <map>

#include "train/run_directory.h"

namespace spankey {
namespace {

constexpr std::size_t most_points = 240;
constexpr std::size_t most_learning_panels = 6;
constexpr std::size_t most_marked = 25;  // evaluations that are drawn as points on a line

// Means of as many neighbours as make the curve short enough.
std::vector<LearningCurve::Step> thinned(const std::vector<LearningCurve::Step>& steps) {
  const auto stride = steps.size() / most_points + 1;
  std::vector<LearningCurve::Step> means;
  for (std::size_t begin = 0; begin < steps.size(); begin += stride) {
    const auto end = std::min(steps.size(), begin + stride);
    LearningCurve::Step mean;
    const double share = 1.0 / static_cast<double>(end - begin);
    for (auto i = begin; i < end; ++i) {
      mean.epoch += share * steps[i].epoch;
      mean.loss += share * steps[i].loss;
      mean.ce += share * steps[i].ce;
      mean.deny += share * steps[i].deny;
    }
    means.push_back(mean);
  }
  return means;
}

double number_in(const nlohmann::json& line, const char* name) {
  return figure(line, name).value_or(0.0);
}

PlotBlock loss_block(const LearningCurve& curve, double LearningCurve::Step::*what) {
  PlotBlock block;
  for (const auto& step : curve.steps) block.push_back({step.epoch, step.*what});
  return block;
}

PlotBlock accuracy_block(const LearningCurve& curve, const Series& series) {
  PlotBlock block;
  for (const auto& evaluation : curve.evaluations)
    if (const auto value = figure(evaluation.access, series.path)) block.push_back({evaluation.epoch, *value});
  return block;
}

// Every run of the panel: a line each, the series named once.
void plot_accuracies(Plot& plot, const std::vector<LearningCurve>& curves) {
  for (const auto& series : accuracy_series()) {
    bool named = false;
    for (const auto& curve : curves) {
      const bool rejects =
          !curve.evaluations.empty() && figure(curve.evaluations.front().access, "no_key.reject_fraction").has_value();
      if (series.path.ends_with("strip_accuracy") && !rejects) continue;
      const auto how = curve.evaluations.size() <= most_marked ? fmt::format("linespoints pt {} ps 0.8", series.point)
                                                               : std::string("lines");
      plot.curve(accuracy_block(curve, series),
                 fmt::format("using 1:2 with {} lw 1.4 dt {} lc rgb '{}' {}", how, series.dash, series.colour,
                             named ? "notitle" : fmt::format("title '{}'", series.title)));
      named = true;
    }
  }
  plot.end_curves();
}

std::vector<LearningCurve> curves_of(const Group& group) {
  std::vector<LearningCurve> curves;
  for (const auto* run : group.runs) {
    auto curve = read_learning_curve(RunDirectory{run->directory}.metrics());
    if (!curve.evaluations.empty()) curves.push_back(std::move(curve));
  }
  return curves;
}

struct Learners {
  std::vector<const Group*> groups;
  bool all = true;  // false: only the best and the worst
};

Learners choose_learners(const DataStudy& study) {
  Learners learners;
  for (const auto& group : study.groups) learners.groups.push_back(&group);
  if (learners.groups.size() <= most_learning_panels) return learners;
  const auto [worst, best] = std::minmax_element(
      learners.groups.begin(), learners.groups.end(),
      [](const Group* a, const Group* b) { return a->mean("correct_key.accuracy") < b->mean("correct_key.accuracy"); });
  return {{*best, *worst}, false};
}

std::optional<Figure> draw_losses(const Learners& learners, const std::string& prefix, PlotFolder& folder) {
  constexpr std::array colours{"#2878b5", "#d1682b", "#8e44ad", "#3a9a5b", "#7d8790", "#b5453c"};
  Plot plot(440);
  plot.command("set xlabel 'epoch'\nset ylabel 'training loss (nats)'\nset key above maxrows 3 samplen 3");
  bool any = false, positive = true;
  for (std::size_t g = 0; g < learners.groups.size(); ++g) {
    bool named = false;
    for (const auto& curve : curves_of(*learners.groups[g])) {
      const auto title = named ? std::string("notitle") : "title " + plot_text(learners.groups[g]->label);
      for (const auto& step : curve.steps) positive = positive && step.loss > 0;
      plot.curve(loss_block(curve, &LearningCurve::Step::loss),
                 fmt::format("using 1:2 with lines lw 1.3 dt {} lc rgb '{}' {}", g % 5 + 1, colours[g % colours.size()],
                             title));
      named = any = true;
    }
  }
  if (!any) return std::nullopt;
  if (positive) plot.command("set logscale y");  // with mode A, minus an entropy, it is not
  plot.end_curves();
  return folder.draw(prefix + "loss", plot, "Training loss",
                     fmt::format("Task loss plus weighted deny loss, a line for each run{}.",
                                 learners.all ? "" : " of the groups that are best and worst under a correct key"));
}

std::optional<Figure> draw_accuracies(const Learners& learners, const std::string& prefix, PlotFolder& folder) {
  std::vector<std::pair<const Group*, std::vector<LearningCurve>>> panels;
  for (const auto* group : learners.groups)
    if (auto curves = curves_of(*group); !curves.empty()) panels.emplace_back(group, std::move(curves));
  if (panels.empty()) return std::nullopt;
  const auto columns = panels.size() == 4 ? 2 : std::min<std::size_t>(panels.size(), 3);
  const auto rows = (panels.size() + columns - 1) / columns;
  Plot plot(40 + 310 * static_cast<int>(rows));
  plot.command(
      fmt::format("set multiplot layout {},{}\nset yrange [-0.02:1.02]\nset key below "
                  "maxrows 2 samplen 2 font ',11'",
                  rows, columns));
  for (const auto& [group, curves] : panels) {
    const auto epochs = static_cast<double>(group->config().train.epochs);
    plot.command(fmt::format("set title {}\nset ylabel 'accuracy'\nset xrange [{}:{}]",
                             plot_text(group->label, columns == 1   ? 110
                                                     : columns == 2 ? 56
                                                                    : 40),
                             epochs > 1 ? 0.8 : 0, epochs + 0.2));
    plot_accuracies(plot, curves);
  }
  plot.command("unset multiplot");
  return folder.draw(
      prefix + "learning", plot, "Accuracy while training",
      fmt::format(
          "Test split over epochs, a line for each run{}; strip ignores the rejection. Evaluations before the last one "
          "try one key, so they are noisier.",
          learners.all ? "" : " of the groups that are best and worst under a correct key"));
}

}  // namespace

LearningCurve read_learning_curve(const std::filesystem::path& metrics) {
  LearningCurve curve;
  std::map<double, std::vector<LearningCurve::Step>> epochs;  // `epoch` holds the step within it
  double steps_per_epoch = 1.0;
  std::ifstream file(metrics);
  for (std::string text; std::getline(file, text);) {
    auto line = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
    if (!line.is_object() || !line.contains("kind") || !line["kind"].is_string()) continue;
    const double epoch = number_in(line, "epoch");
    if (line["kind"] == "step") {
      const double step = number_in(line, "step");
      steps_per_epoch = std::max(steps_per_epoch, step);
      epochs[epoch].push_back({step, number_in(line, "loss"), number_in(line, "ce"), number_in(line, "deny")});
    } else {
      curve.evaluations.push_back({epoch + 1.0, std::move(line)});
    }
  }
  for (auto& [epoch, steps] : epochs)
    for (auto& step : steps) {
      step.epoch = epoch + step.epoch / steps_per_epoch;
      curve.steps.push_back(step);
    }
  curve.steps = thinned(curve.steps);
  return curve;
}

std::vector<Figure> draw_learning(const RunRecord& run, PlotFolder& folder) {
  const auto curve = read_learning_curve(RunDirectory{run.directory}.metrics());
  if (curve.steps.empty() && curve.evaluations.empty()) return {};
  Plot plot(420);
  plot.command("set multiplot layout 1,2\nset key below maxrows 2 samplen 2.5");
  plot.command("set title 'training loss (nats)'");
  if (std::all_of(curve.steps.begin(), curve.steps.end(),
                  [](const auto& step) { return step.ce > 0 && step.deny >= 0; }))
    plot.command("set logscale y");
  const auto loss = [&](double LearningCurve::Step::*what, const char* title, int dash, const char* colour) {
    plot.curve(loss_block(curve, what), fmt::format("using 1:2 with lines lw 1.5 dt {} lc rgb '{}' "
                                                    "title '{}'",
                                                    dash, colour, title));
  };
  loss(&LearningCurve::Step::ce, "task", 1, "#2878b5");
  if (std::any_of(curve.steps.begin(), curve.steps.end(), [](const auto& step) { return step.deny != 0; }))
    loss(&LearningCurve::Step::deny, "deny, before its weight", 3, "#8e44ad");
  plot.end_curves();
  plot.command("unset logscale y\nset title 'accuracy on the test split'\nset yrange [-0.02:1.02]");
  plot_accuracies(plot, {curve});
  plot.command("unset multiplot");
  std::vector<Figure> figures;
  if (auto figure = folder.draw(
          "learning", plot, "Learning curves",
          "Over epochs. Left: losses of the training steps, averaged where there are many. Right: "
          "accuracy after each epoch, strip ignores the rejection; evaluations before the last one try one key."))
    figures.push_back(std::move(*figure));
  return figures;
}

std::vector<Figure> draw_learning(const DataStudy& study, const std::string& prefix, PlotFolder& folder) {
  const auto learners = choose_learners(study);
  std::vector<Figure> figures;
  for (auto& figure : {draw_losses(learners, prefix, folder), draw_accuracies(learners, prefix, folder)})
    if (figure) figures.push_back(*figure);
  return figures;
}

}  // namespace spankey
