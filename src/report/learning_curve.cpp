#include "report/learning_curve.h"

#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <map>

#include "record/run_directory.h"
#include "report/series.h"

namespace spankey {
namespace {

constexpr std::size_t most_points = 120;
constexpr std::size_t most_learning_panels = 12;
constexpr std::size_t most_marked = 25;  // evaluations that are drawn as points on a line

struct LearningCurve {
  struct Step {
    double epoch = 0.0;  // 1.5 is the middle of the second epoch
    double loss = 0.0, ce = 0.0, deny = 0.0;
  };
  struct Evaluation {
    double epoch = 0.0;
    nlohmann::json access;  // as result.json
  };
  std::vector<Step> steps;  // means of intervals, at most 120
  std::vector<Evaluation> evaluations;
};

// Means of as many neighbours as make the curve short enough.
std::vector<LearningCurve::Step> thinned(const std::vector<LearningCurve::Step>& steps) {
  const auto stride = steps.size() / most_points + 1;
  std::vector<LearningCurve::Step> means;
  for (std::size_t begin = 0, end = 0; begin < steps.size(); begin = end) {
    end = std::min(steps.size(), begin + stride);
    if (steps.size() - end < stride / 2) end = steps.size();  // a mean of a few would stand out
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
  return number_at(line, name).value_or(0.0);
}

// Reads a learning curve. Lines that cannot be understood are skipped, and a missing file gives an empty curve.
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

PlotBlock loss_block(const LearningCurve& curve, double LearningCurve::Step::*what) {
  PlotBlock block;
  for (const auto& step : curve.steps) block.push_back({step.epoch, step.*what});
  return block;
}

PlotBlock accuracy_block(const LearningCurve& curve, const Series& series) {
  PlotBlock block;
  for (const auto& evaluation : curve.evaluations)
    if (const auto value = number_at(evaluation.access, series.path)) block.push_back({evaluation.epoch, *value});
  return block;
}

bool shows(const LearningCurve& curve, const Series& series) {
  if (curve.evaluations.empty()) return false;
  return !series.path.ends_with("strip_accuracy") ||
         number_at(curve.evaluations.front().access, "no_key.reject_fraction").has_value();
}

std::string style_of(const LearningCurve& curve, const Series& series) {
  return curve.evaluations.size() <= most_marked ? fmt::format("linespoints {} dt {}", series.points(), series.dash)
                                                 : "lines " + series.lines();
}

// A line for each run of the panel.
void plot_accuracies(Plot& plot, const std::vector<LearningCurve>& curves) {
  for (const auto& series : accuracy_series())
    for (const auto& curve : curves)
      if (shows(curve, series))
        plot.curve(accuracy_block(curve, series), fmt::format("using 1:2 with {} notitle", style_of(curve, series)));
  plot.end_curves();
}

Legend accuracy_legend(const std::vector<LearningCurve>& curves) {
  Legend legend;
  for (const auto& series : accuracy_series())
    for (const auto& curve : curves)
      if (shows(curve, series)) legend.add(series.title, style_of(curve, series));
  return legend;
}

std::vector<LearningCurve> curves_of(const Group& group) {
  std::vector<LearningCurve> curves;
  for (const auto* run : group.runs) {
    auto curve = read_learning_curve(RunDirectory{run->directory}.metrics());
    if (!curve.evaluations.empty()) curves.push_back(std::move(curve));
  }
  return curves;
}

struct Learner {
  const Group* group;
  std::vector<LearningCurve> curves;  // one a run
};

std::vector<Learner> learners_of(const DataStudy& study) {
  std::vector<Learner> learners;
  for (const auto& group : study.groups)
    if (auto curves = curves_of(group); !curves.empty()) learners.push_back({&group, std::move(curves)});
  return learners;
}

// Room for the points at both ends.
std::string epoch_range(std::int64_t epochs) {
  const double margin = 0.03 * static_cast<double>(epochs);
  return fmt::format("set xlabel 'epoch'\nset xrange [{}:{}]", -margin, static_cast<double>(epochs) + margin);
}

// Commands before the plot of each panel.
std::vector<std::string> panels_of(const std::vector<Learner>& learners, const Panels& panels, const char* label) {
  std::vector<std::string> titles;
  for (const auto& learner : learners) titles.push_back(learner.group->label);
  titles = shortened(titles, panels.title_length());
  std::vector<std::string> commands;
  for (std::size_t i = 0; i < learners.size(); ++i)
    commands.push_back(fmt::format("{}\nset title {}\n{}\n{}", panels.place(i), plot_text(titles[i]),
                                   panels.ylabel(i, label), epoch_range(learners[i].group->config().train.epochs)));
  return commands;
}

// The numbers from `low` to `high` that are one of `digits` times a power of ten.
std::vector<std::string> tics_at(double low, double high, const std::vector<double>& digits) {
  std::vector<std::string> tics;
  for (double power = std::pow(10, std::floor(std::log10(low))); power < high; power *= 10)
    for (const double digit : digits)
      if (digit * power >= low && digit * power <= high) tics.push_back(fmt::format("{:.6g}", digit * power));
  return tics;
}

// A command for an axis of less than two powers of ten, on which gnuplot marks one number or none. Empty for a longer
// axis.
std::string marks_between(double low, double high) {
  constexpr std::size_t fewest = 2;
  constexpr double longest = 100;
  if (high / low > longest) return {};
  auto tics = tics_at(low, high, {1, 2, 5});
  for (const double step : {1.0, 0.5, 0.1, 0.05, 0.01, 0.001, 1e-4, 1e-5}) {
    if (tics.size() >= fewest) break;
    std::vector<double> digits;
    for (int i = 0; 1 + i * step < 10; ++i) digits.push_back(1 + i * step);
    tics = tics_at(low, high, digits);
  }
  return fmt::format("\nset ytics ({})", fmt::join(tics, ", "));
}

// Commands for an axis of losses from `low` to `high`. It is logarithmic. Where a loss is negative (with mode A, less
// an entropy) it is so in both directions, and linear between -0.01 and 0.01.
std::string loss_axis(double low, double high) {
  if (low > high) return {};
  if (low > 0) {
    const double margin = 1.01 * std::pow(high / low, 0.05);
    return fmt::format("set logscale y\nset yrange [{}:{}]{}", low / margin, high * margin,
                       marks_between(low / margin, high * margin));
  }
  const double margin = 0.05 * (high - low);
  return fmt::format(
      "set nonlinear y via asinh(100 * y) inverse sinh(y) / 100\nset ytics (-100, -10, -1, -0.1, 0, 0.1, 1, 10, 100)\n"
      "set yrange [{}:{}]",
      low - margin, high + margin);
}

struct LossRange {
  double low = std::numeric_limits<double>::infinity(), high = -low;

  // A loss of 0 has no place on the axis, as that of a deny loss whose weight has not begun to grow.
  void add(double loss) {
    if (!std::isfinite(loss) || loss == 0.0) return;
    low = std::min(low, loss);
    high = std::max(high, loss);
  }
  std::string axis() const { return loss_axis(low, high); }
};

// One scale for all panels.
std::string loss_axis_of(const std::vector<Learner>& learners) {
  LossRange range;
  for (const auto& learner : learners)
    for (const auto& curve : learner.curves)
      for (const auto& step : curve.steps) range.add(step.loss);
  return range.axis();
}

std::optional<Figure> draw_losses(const DataStudy& study, const std::vector<Learner>& learners,
                                  const std::string& prefix, PlotFolder& folder) {
  const auto panels = arrange_panels(learners.size());
  Plot plot(panels);
  plot.command("unset key\n" + loss_axis_of(learners));
  const auto places = panels_of(learners, panels, "training loss (nats)");
  for (std::size_t i = 0; i < learners.size(); ++i) {
    plot.command(places[i]);
    for (const auto& curve : learners[i].curves)
      plot.curve(loss_block(curve, &LearningCurve::Step::loss), "using 1:2 with lines lw 1.3 lc rgb '#2878b5' notitle");
    plot.end_curves();
  }
  return folder.draw(prefix + "loss", plot, "Training loss",
                     "Task loss plus weighted deny loss, a line for each seed." +
                         choice_text(learners.size(), study.groups.size(), "groups"));
}

std::optional<Figure> draw_accuracies(const DataStudy& study, const std::vector<Learner>& learners,
                                      const std::string& prefix, PlotFolder& folder) {
  const auto panels = arrange_panels(learners.size());
  Plot plot(panels);
  plot.command("unset key\nset yrange [-0.02:1.02]");
  const auto places = panels_of(learners, panels, "accuracy");
  std::vector<LearningCurve> all;
  for (std::size_t i = 0; i < learners.size(); ++i) {
    plot.command(places[i]);
    plot_accuracies(plot, learners[i].curves);
    all.insert(all.end(), learners[i].curves.begin(), learners[i].curves.end());
  }
  plot.command(accuracy_legend(all).draw(panels));
  return folder.draw(
      prefix + "learning", plot, "Accuracy while training",
      "Test split, a line for each seed; strip ignores the rejection. Evaluations before the last one try "
      "one key, so they are noisier." +
          choice_text(learners.size(), study.groups.size(), "groups"));
}

}  // namespace

std::vector<Figure> draw_learning(const RunRecord& run, PlotFolder& folder, const std::string& prefix) {
  const auto curve = read_learning_curve(RunDirectory{run.directory}.metrics());
  if (curve.steps.empty() && curve.evaluations.empty()) return {};
  auto panels = arrange_panels(2);
  panels.axes_height = 280;
  Plot plot(panels);
  Legend losses;
  plot.command(fmt::format("unset key\n{}\n{}\nset ylabel 'training loss (nats)'", epoch_range(run.config.train.epochs),
                           panels.place(0)));
  LossRange range;
  for (const auto& step : curve.steps) {
    range.add(step.ce);
    range.add(step.deny);
  }
  plot.command(range.axis());
  const auto loss = [&](double LearningCurve::Step::*what, const char* title, const char* style) {
    losses.add(title, style);
    plot.curve(loss_block(curve, what), fmt::format("using 1:2 with {} notitle", style));
  };
  loss(&LearningCurve::Step::ce, "task", "lines lw 1.6 dt 1 lc rgb '#2878b5'");
  if (std::any_of(curve.steps.begin(), curve.steps.end(), [](const auto& step) { return step.deny != 0; }))
    loss(&LearningCurve::Step::deny, "deny, before its weight", "lines lw 1.6 dt 3 lc rgb '#9445bd'");
  plot.end_curves();
  plot.command(fmt::format(
      "unset logscale y\nunset nonlinear y\nset ytics autofreq\n{}\nset ylabel 'accuracy'\nset yrange [-0.02:1.02]",
      panels.place(1)));
  plot_accuracies(plot, {curve});
  plot.command(losses.draw(panels, 0.0, 0.42) + "\n" + accuracy_legend({curve}).draw(panels, 0.42, 1.0));
  std::vector<Figure> figures;
  if (auto figure = folder.draw(
          prefix + "learning", plot, prefix.empty() ? "Learning curves" : "Learning curves of " + run.name(),
          "Left: losses of the training steps, averaged where there are many. Right: accuracy on the test split after "
          "each epoch, strip ignores the rejection; evaluations before the last one try one key."))
    figures.push_back(std::move(*figure));
  return figures;
}

std::vector<Figure> draw_learning(const DataStudy& study, const std::string& prefix, PlotFolder& folder) {
  const auto learners = evenly_chosen(learners_of(study), most_learning_panels,
                                      [](const Learner& learner) { return learner.group->mean("wrong_key.accuracy"); });
  std::vector<Figure> figures;
  if (learners.empty()) return figures;
  for (auto& figure : {draw_losses(study, learners, prefix, folder), draw_accuracies(study, learners, prefix, folder)})
    if (figure) figures.push_back(*figure);
  return figures;
}

}  // namespace spankey
