// Compares predictions of the margin with measured ones, sample by sample.
#pragma once

#include <ATen/core/Tensor.h>

#include "diagnose/figures.h"
#include "page/plot.h"

namespace spankey {

struct Agreement {
  double mean = no_number;  // of the predictions
  double mean_absolute_error = no_number, rms_error = no_number, correlation = no_number;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit("mean", self.mean);
    visit("mean_absolute_error", self.mean_absolute_error);
    visit("rms_error", self.rms_error);
    visit("correlation", self.correlation);
  }
};
// Both are float64 tensors of the same shape, (n).
Agreement agreement_of(const at::Tensor& predicted, const at::Tensor& measured);

// Returns points (x, y), evenly chosen, and not more of them than an eye can tell apart.
PlotBlock scatter(const at::Tensor& x, const at::Tensor& y);
// Adds the line y = x over the range of `points`.
void add_diagonal(Plot& plot, const PlotBlock& points);

}  // namespace spankey
