#include "study/plot.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/file.h"

namespace spankey {

std::string Series::points() const {
  return fmt::format("pt {} ps {} lw 1.4 lc rgb '{}'", point, size, colour);
}

std::string Series::lines() const {
  return fmt::format("lw 1.8 dt {} lc rgb '{}'", dash, colour);
}

const std::vector<Series>& accuracy_series() {
  static const std::vector<Series> series{
      {"correct_key.accuracy", "correct key", "#2878b5", 7, 1, 0.7},
      {"no_key.accuracy", "no key", "#c2551a", 4, 2, 0.9},
      {"no_key.strip_accuracy", "no key, strip", "#77828c", 12, 4, 1.0},  // around what it coincides with
      {"wrong_key.accuracy", "wrong key", "#9445bd", 8, 3, 1.0},
  };
  return series;
}

const Series& worst_case_series() {
  static const Series series{"worst_case", "worst case", "#000000", 2, 1, 0.8};
  return series;
}

Plot::Plot(const Panels& panels) : Plot(panels.height()) {
  command("set multiplot");
}

Plot::Plot(int height) : size_{.width = figure_width, .height = height, .font = 13} {
  command("set termoption noenhanced\nset border lw 0.8\nset tics nomirror\nset grid lc rgb '#a8b0b8' lw 0.5 dt 3");
}

void Plot::curve(PlotBlock rows, const std::string& how) {
  if (rows.empty()) return;
  curves_ += fmt::format("{} data index {} {}", curves_.empty() ? "plot" : ", \\\n    ", blocks_.size(), how);
  blocks_.push_back(std::move(rows));
}

void Plot::end_curves() {
  command(curves_);
  curves_.clear();
}

std::string plot_text(const std::string& text, std::size_t longest) {
  auto shown = text.size() > longest ? text.substr(0, longest - 3) + "..." : text;
  std::replace_if(
      shown.begin(), shown.end(), [](unsigned char c) { return c < ' '; }, ' ');
  return gnuplot_quoted(shown);
}

std::string tics_text(const std::vector<std::string>& labels) {
  std::string text = "(";
  for (std::size_t i = 0; i < labels.size(); ++i)
    text += fmt::format("{}{} {}", i > 0 ? ", " : "", plot_text(labels[i]), i);
  return text + ")";
}

PlotFolder::PlotFolder(std::filesystem::path folder) : folder_(std::move(folder)) {
  make_writable_folder(folder_ / "plots");
}

std::optional<Figure> PlotFolder::draw(const std::string& name, const Plot& plot, const std::string& title,
                                       const std::string& caption) {
  if (!write_plot(folder_ / "plots" / name, plot.commands(), plot.blocks(), plot.size())) {
    gnuplot_missing_ = true;
    return std::nullopt;
  }
  return Figure{title, caption, "plots/" + name + ".svg"};
}

}  // namespace spankey
