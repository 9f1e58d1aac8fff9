// Mode A_soft is satisfied with an entropy within `gap` of the largest possible. The loss is max(0, log C - H - gap)^2.
#include <ATen/ATen.h>

#include <cmath>

#include "spankey/deny/deny.h"

namespace spankey {

at::Tensor deny_a_soft(const DenyInputs& inputs) {
  const double enough = std::log(static_cast<double>(inputs.correct.logits.size(1))) - inputs.config.gap;
  return average_over_passes(
      inputs, [&](const Output& output) { return (enough - prediction_entropy(output.logits)).relu().square(); });
}

}  // namespace spankey
