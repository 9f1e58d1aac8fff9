// Mode cplus adds to C that some other class exceeds the true one by `margin2` on the denied pass. C + max(0, margin2 +
// z_w[y] - max_{c != y} z_w[c])
#include <ATen/ATen.h>

#include <limits>

#include "spankey/deny/deny.h"

namespace spankey {

at::Tensor deny_cplus(const DenyInputs& inputs) {
  const at::Tensor y = inputs.labels.unsqueeze(1);
  const at::Tensor order = average_over_passes(inputs, [&](const Output& output) {
    const at::Tensor& z = output.logits;
    // max along a dimension sends the gradient of a tie to one index, the first.
    const at::Tensor other = std::get<0>(z.scatter(1, y, -std::numeric_limits<double>::infinity()).max(1));
    return (inputs.config.margin2 + z.gather(1, y).squeeze(1) - other).relu();
  });
  return deny_c(inputs) + order;
}

}  // namespace spankey
