// Draws curves with a band around each, such as means with their extremes, over numbers on a logarithmic axis.
#pragma once

#include <string>
#include <vector>

#include "page/plot.h"

namespace spankey {

struct BandCurve {
  std::string title;
  PlotBlock points;  // {x, mean, low, high} with x > 0, in the order of x
};

// The curves of all panels of a figure. A title has one colour and one kind of points in all of them.
class BandCurves {
 public:
  // `panels` holds the curves of each panel.
  explicit BandCurves(std::vector<std::vector<BandCurve>> panels);

  // Draws a panel, with dashed lines across it at the accuracies `correct` and `chance` (NaN for none). `heights` is
  // gnuplot's range of the vertical axis.
  void plot(Plot& plot, std::size_t panel, double correct, double chance,
            const std::string& heights = "[-0.02:1.02]") const;
  // The legend of all panels.
  Legend legend() const;

 private:
  std::string style(const std::string& title) const;

  std::vector<std::vector<BandCurve>> panels_;
  std::vector<std::string> titles_;
  double low_ = 0.0, high_ = 0.0;  // of x, over all panels
};

}  // namespace spankey
