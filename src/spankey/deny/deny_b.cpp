// Mode B puts inputs without a valid key into the reject class, the last one. The loss is -log p_reject.
#include <ATen/ATen.h>

#include "spankey/deny/deny.h"

namespace spankey {

at::Tensor deny_b(const DenyInputs& inputs) {
  return average_over_passes(
      inputs, [](const Output& output) { return -output.logits.log_softmax(1).select(1, output.logits.size(1) - 1); });
}

}  // namespace spankey
