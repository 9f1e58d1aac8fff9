#include "page/panels.h"

#include <fmt/format.h>

#include <algorithm>

#include "page/gnuplot.h"

namespace spankey {
namespace {

// Heights and widths in pixels. The legend is above all panels. Each panel has its title above it, tics and label
// below, and a gap to the right.
constexpr int legend_height = 36, head_height = 30, foot_height = 58, right_margin = 18;

}  // namespace

int Panels::height() const {
  const auto rows = static_cast<int>((count + columns - 1) / columns);
  return legend_height + rows * (head_height + axes_height + foot_height);
}

std::string Panels::place(std::size_t i) const {
  const double whole = height(), cell = static_cast<double>(figure_width) / static_cast<double>(columns);
  const double x = cell * static_cast<double>(i % columns);
  const double top =
      legend_height + static_cast<double>(i / columns) * (head_height + axes_height + foot_height) + head_height;
  return fmt::format(
      "set lmargin at screen {:.4f}\nset rmargin at screen {:.4f}\nset tmargin at screen {:.4f}\nset bmargin at screen "
      "{:.4f}\nset title offset 0,-0.5\nset xlabel offset 0,0.4\nset ylabel offset 1.5,0",
      (x + left) / figure_width, (x + cell - right_margin) / figure_width, 1 - top / whole,
      1 - (top + axes_height) / whole);
}

Panels arrange_panels(std::size_t count) {
  Panels panels;
  panels.count = count;
  panels.columns = count == 4 ? 2 : std::min<std::size_t>(count, 3);
  panels.axes_height = count == 1 ? 300 : count <= 6 ? 230 : 170;
  return panels;
}

int room_for(const std::vector<std::string>& labels, std::size_t most) {
  constexpr int margin = 20, character = 8;
  std::size_t longest = 0;
  for (const auto& label : labels) longest = std::max(longest, label.size());
  return margin + character * static_cast<int>(std::min(longest, most));
}

std::string choice_text(std::size_t shown, std::size_t all, std::string_view what) {
  return shown < all
             ? fmt::format(" Shown are {} of {} {}, evenly from the least to the most accurate under a wrong key.",
                           shown, all, what)
             : std::string();
}

void Legend::add(std::string_view title, const std::string& style) {
  const bool known = std::any_of(entries_.begin(), entries_.end(), [&](const Entry& e) { return e.title == title; });
  if (!known) entries_.push_back({std::string(title), style});
}

std::string Legend::draw(const Panels& panels, double from, double to) const {
  if (entries_.empty()) return {};
  std::string plots;
  for (const auto& entry : entries_)
    plots += fmt::format("{} NaN with {} title {}", plots.empty() ? "plot" : ", \\\n    ", entry.style,
                         gnuplot_quoted(entry.title));
  return fmt::format(
      "set lmargin at screen {:.4f}\nset rmargin at screen {:.4f}\nset tmargin at screen 1\nset bmargin at screen "
      "{:.4f}\n"
      "unset border\nunset tics\nunset xlabel\nunset ylabel\nunset title\nunset logscale\nset xrange [0:1]\nset yrange "
      "[0:1]\n"
      "set key center center horizontal maxrows 1 Left reverse samplen 2 width 1\n{}",
      from, to, 1 - static_cast<double>(legend_height) / panels.height(), plots);
}

}  // namespace spankey
