// Mode C wants the correct key's logit of the true class to exceed the denied one's by `margin`. The loss is max(0,
// margin - (z_ok[y] - z_w[y])). Larger z_ok also satisfy it. deny.stop_gradient leaves only the denied pass to change.
#include <ATen/ATen.h>

#include "spankey/deny/deny.h"

namespace spankey {

at::Tensor deny_c(const DenyInputs& inputs) {
  const at::Tensor y = inputs.labels.unsqueeze(1);
  const at::Tensor& trusted = inputs.correct.logits;
  const at::Tensor right = (inputs.config.stop_gradient ? trusted.detach() : trusted).gather(1, y).squeeze(1);
  return average_over_passes(inputs, [&](const Output& output) {
    return (inputs.config.margin - (right - output.logits.gather(1, y).squeeze(1))).relu();
  });
}

}  // namespace spankey
