// Lays out figures of several panels, all of one size, in rows, under one legend.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace spankey {

inline constexpr int figure_width = 960;  // pixels, of every figure of a report
// The same figure for narrow screens. Its panels stand one below the other. Commands tell the two forms apart by the
// gnuplot variable `narrow`.
inline constexpr int narrow_width = 390;

// Returns gnuplot commands of which the figure takes one, by its form.
std::string by_form(const std::string& wide, const std::string& narrow);

struct Panels {
  std::size_t count = 1, columns = 1;
  int axes_height = 250;  // pixels, of each panel
  int left = 74;          // pixels for the labels of the vertical axis of each panel

  int height() const;         // of the figure
  int narrow_height() const;  // of its narrow form
  // Returns gnuplot commands that put the next plot into panel `i`.
  std::string place(std::size_t i) const;
  // Returns gnuplot commands that name the vertical axis of panel `i`, unless the panel to its left does.
  std::string ylabel(std::size_t i, const std::string& label) const;
  // Returns gnuplot commands that name the places of the vertical axis, cut to what fits.
  std::string ytics(const std::vector<std::string>& labels) const;
  // Returns gnuplot commands for a bar of the palette above the panels, which the next plot draws.
  std::string colour_bar() const;
  // Returns the number of characters of a title that fits above a panel.
  std::size_t title_length() const { return 110 / columns; }
};

// Returns as many columns as fit. Panels are lower where there are many rows.
Panels arrange_panels(std::size_t count);

// Returns the pixels that labels of the vertical axis need, if each is cut to `most` characters.
int room_for(const std::vector<std::string>& labels, std::size_t most);

class Legend {
 public:
  // `style` is as in gnuplot's plot, such as "points pt 7". A title counts once.
  void add(std::string_view title, const std::string& style);
  // Returns gnuplot commands that draw it above the panels, between these shares of the width.
  std::string draw(const Panels& panels, double from = 0.0, double to = 1.0) const;

 private:
  struct Entry {
    std::string title, style;
  };
  std::vector<Entry> entries_;
};

// Returns at most `most` (two or more) of the values, in their order. Their scores lie evenly between the lowest and
// the highest, both of which are among them. If values were chosen by their place alone, the values of an axis would
// come and go in step.
template <class T, class Score>
std::vector<T> evenly_chosen(const std::vector<T>& values, std::size_t most, const Score& score) {
  if (values.size() <= most) return values;
  std::vector<std::pair<double, std::size_t>> ranked;
  for (std::size_t i = 0; i < values.size(); ++i) ranked.emplace_back(score(values[i]), i);
  std::sort(ranked.begin(), ranked.end());
  std::vector<std::size_t> places;
  for (std::size_t i = 0; i < most; ++i) places.push_back(ranked[i * (ranked.size() - 1) / (most - 1)].second);
  std::sort(places.begin(), places.end());
  std::vector<T> chosen;
  for (const auto place : places) chosen.push_back(values[place]);
  return chosen;
}

// Returns what a caption says about the choice.
std::string choice_text(std::size_t shown, std::size_t all, std::string_view what);

}  // namespace spankey
