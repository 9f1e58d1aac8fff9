#include "diagnose/figures.h"

#include "base/statistics.h"

namespace spankey {

Spread spread_of(const std::vector<double>& values) {
  const auto summary = summarise(values);
  return {summary.mean, summary.sd, summary.min, summary.max, summary.count};
}

}  // namespace spankey
