#include "diagnose/agreement.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "base/statistics.h"
#include "diagnose/diagnosed_run.h"

namespace spankey {

Agreement agreement_of(const at::Tensor& predicted, const at::Tensor& measured) {
  const at::Tensor error = predicted - measured;
  return {mean_of(predicted), mean_of(error.abs()), std::sqrt(mean_of(error.square())),
          correlation(to_doubles(predicted), to_doubles(measured))};
}

PlotBlock scatter(const at::Tensor& x, const at::Tensor& y) {
  constexpr std::size_t most = 1500;
  const auto a = to_doubles(x), b = to_doubles(y);
  const std::size_t step = std::max<std::size_t>(1, a.size() / most);
  PlotBlock block;
  for (std::size_t i = 0; i < a.size(); i += step) block.push_back({a[i], b[i]});
  return block;
}

void add_diagonal(Plot& plot, const PlotBlock& points) {
  if (points.empty()) return;
  const auto by_x = [](const auto& a, const auto& b) { return a[0] < b[0]; };
  const auto [low, high] = std::minmax_element(points.begin(), points.end(), by_x);
  plot.curve({{(*low)[0], (*low)[0]}, {(*high)[0], (*high)[0]}},
             "using 1:2 with lines lw 1 dt 2 lc rgb 'black' title 'equal'");
}

}  // namespace spankey
