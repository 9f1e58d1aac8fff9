#include "page/panels.h"

#include <fmt/format.h>

#include <algorithm>

#include "page/plot.h"

namespace spankey {
namespace {

// Heights and widths in pixels. The legend is above all panels. Each panel has its title above it, tics and label
// below, and a gap to the right.
constexpr int head_height = 30, foot_height = 58, right_margin = 18;
constexpr int most_narrow_left = 148;
constexpr int label_margin = 20, character_width = 8;  // of a label beside the vertical axis

std::size_t characters_in(int room) {
  return static_cast<std::size_t>(std::max(1, (room - label_margin) / character_width));
}

struct Form {
  int width, legend_height, legend_rows, legend_font, left;
  std::size_t columns;
};

Form wide_form(const Panels& panels) {
  return {figure_width, 36, 1, 13, panels.left, panels.columns};
}

Form narrow_form(const Panels& panels) {
  return {narrow_width, 84, 4, 11, std::min(panels.left, most_narrow_left), 1};
}

int height_in(const Form& form, const Panels& panels) {
  const auto rows = static_cast<int>((panels.count + form.columns - 1) / form.columns);
  return form.legend_height + rows * (head_height + panels.axes_height + foot_height);
}

std::string place_in(const Form& form, const Panels& panels, std::size_t i) {
  const double whole = height_in(form, panels),
               cell = static_cast<double>(form.width) / static_cast<double>(form.columns);
  const double x = cell * static_cast<double>(i % form.columns);
  const double top = form.legend_height +
                     static_cast<double>(i / form.columns) * (head_height + panels.axes_height + foot_height) +
                     head_height;
  return fmt::format(
      "set lmargin at screen {:.4f}\nset rmargin at screen {:.4f}\nset tmargin at screen {:.4f}\nset bmargin at screen "
      "{:.4f}",
      (x + form.left) / form.width, (x + cell - right_margin) / form.width, 1 - top / whole,
      1 - (top + panels.axes_height) / whole);
}

std::string legend_place(const Form& form, const Panels& panels, double from, double to) {
  return fmt::format(
      "set lmargin at screen {:.4f}\nset rmargin at screen {:.4f}\nset tmargin at screen 1\nset bmargin at screen "
      "{:.4f}\n"
      "set key center center horizontal maxrows {} Left reverse samplen 2 width 1 font ',{}'",
      from, to, 1 - static_cast<double>(form.legend_height) / height_in(form, panels), form.legend_rows,
      form.legend_font);
}

// The labels of its tics need as much room below it as the bar itself.
std::string bar_place(const Form& form, const Panels& panels, double from, double to) {
  constexpr double thickness = 10, top = 6;
  const double whole = height_in(form, panels);
  return fmt::format(
      "set colorbox horizontal user origin screen {:.4f}, screen {:.4f} size screen {:.4f}, screen {:.4f}", from,
      1 - (top + thickness) / whole, to - from, thickness / whole);
}

}  // namespace

std::string by_form(const std::string& wide, const std::string& narrow) {
  return fmt::format("if (!narrow) {{\n{}\n}} else {{\n{}\n}}", wide, narrow);
}

int Panels::height() const {
  return height_in(wide_form(*this), *this);
}

int Panels::narrow_height() const {
  return height_in(narrow_form(*this), *this);
}

std::string Panels::place(std::size_t i) const {
  return by_form(place_in(wide_form(*this), *this, i), place_in(narrow_form(*this), *this, i)) +
         "\nset title offset 0,-0.5\nset xlabel offset 0,0.4\nset ylabel offset 1.5,0";
}

std::string Panels::ylabel(std::size_t i, const std::string& label) const {
  const auto named = "set ylabel " + plot_text(label);
  return i % columns == 0 ? named : by_form("set ylabel ''", named);
}

std::string Panels::ytics(const std::vector<std::string>& labels) const {
  return by_form("set ytics " + tics_text(labels, characters_in(left)),
                 "set ytics " + tics_text(labels, characters_in(std::min(left, most_narrow_left))));
}

std::string Panels::colour_bar() const {
  return "set cbtics 0.25 scale 0 offset 0,0.6 font ',11'\n" +
         by_form(bar_place(wide_form(*this), *this, 0.35, 0.65), bar_place(narrow_form(*this), *this, 0.2, 0.9));
}

Panels arrange_panels(std::size_t count) {
  Panels panels;
  panels.count = count;
  panels.columns = count == 4 ? 2 : std::min<std::size_t>(count, 3);
  panels.axes_height = count == 1 ? 300 : count <= 6 ? 230 : 170;
  return panels;
}

int room_for(const std::vector<std::string>& labels, std::size_t most) {
  std::size_t longest = 0;
  for (const auto& label : labels) longest = std::max(longest, label.size());
  return label_margin + character_width * static_cast<int>(std::min(longest, most));
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
      "unset border\nunset tics\nunset xlabel\nunset ylabel\nunset title\nunset logscale\nunset nonlinear y\n"
      "set xrange [0:1]\nset yrange [0:1]\n{}\n{}",
      by_form(legend_place(wide_form(panels), panels, from, to), legend_place(narrow_form(panels), panels, from, to)),
      plots);
}

}  // namespace spankey
