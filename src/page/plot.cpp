#include "page/plot.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/file.h"
#include "base/text.h"

namespace spankey {
namespace {

const std::string dots = "...";

// Returns the bytes of the words with which all labels begin.
std::size_t common_words(const std::vector<std::string>& labels) {
  std::size_t length = labels.front().size();
  for (const auto& label : labels) {
    const auto end = label.begin() + static_cast<std::ptrdiff_t>(std::min(length, label.size()));
    const auto differs = std::mismatch(label.begin(), end, labels.front().begin());
    length = static_cast<std::size_t>(differs.first - label.begin());
  }
  const auto blank = labels.front().substr(0, length).find_last_of(" _-/,");
  return blank == std::string::npos ? 0 : blank + 1;
}

}  // namespace

Plot::Plot(const Panels& panels) : Plot(panels.height()) {
  size_.narrow_height = panels.narrow_height();
  command("set multiplot");
}

Plot::Plot(int height)
    : size_{
          .width = figure_width, .height = height, .font = 13, .narrow_width = narrow_width, .narrow_height = height} {
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

std::string plot_text(const std::string& text) {
  auto shown = text;
  std::replace_if(
      shown.begin(), shown.end(), [](unsigned char c) { return c < ' '; }, ' ');
  return gnuplot_quoted(shown);
}

std::string plot_text(const std::string& text, std::size_t longest) {
  return plot_text(shortened({text}, longest).front());
}

std::string tics_text(const std::vector<std::string>& labels, std::size_t longest) {
  const auto shown = shortened(labels, longest);
  std::string text = "(";
  for (std::size_t i = 0; i < shown.size(); ++i) {
    std::string label;
    for (const char c : shown[i]) label.append(c == '%' ? 2 : 1, c);
    text += fmt::format("{}{} {}", i > 0 ? ", " : "", plot_text(label), i);
  }
  return text + ")";
}

std::vector<std::string> shortened(std::vector<std::string> labels, std::size_t longest) {
  const auto too_long = [&](const std::string& label) { return count_characters(label) > longest; };
  if (std::none_of(labels.begin(), labels.end(), too_long)) return labels;
  const auto common = labels.size() > 1 ? common_words(labels) : 0;
  if (common > dots.size())
    for (auto& label : labels) label = dots + label.substr(common);
  for (auto& label : labels)
    if (too_long(label)) label = without_middle(label, longest);
  for (std::size_t i = 0; i < labels.size(); ++i) {
    const auto same = static_cast<std::size_t>(
        std::count(labels.begin(), labels.begin() + static_cast<std::ptrdiff_t>(i), labels[i]));
    if (same > 0) labels[i] += fmt::format(" #{}", same + 1);
  }
  return labels;
}

PlotFolder::PlotFolder(std::filesystem::path folder, std::filesystem::path below)
    : folder_(std::move(folder)), below_(std::move(below)) {
  make_writable_folder(folder_ / below_);
}

std::optional<Figure> PlotFolder::draw(const std::string& name, const Plot& plot, const std::string& title,
                                       const std::string& caption) {
  const auto stem = below_ / name;
  if (!write_plot(folder_ / stem, plot.commands(), plot.blocks(), plot.size())) {
    gnuplot_missing_ = true;
    return std::nullopt;
  }
  return Figure{title, caption, stem.generic_string() + ".svg"};
}

}  // namespace spankey
