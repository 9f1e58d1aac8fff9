// Mode C: the correct key's logit of the true class leads the denied one's by `margin`. max(0, margin - (z_ok[y] -
// z_w[y])). It may be met by inflating z_ok: deny.stop_gradient leaves the denied pass as the only way.
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
