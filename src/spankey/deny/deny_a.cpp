// Mode A wants a prediction of high entropy without a valid key. The loss is -H(p).
#include <ATen/ATen.h>

#include "spankey/deny/deny.h"

namespace spankey {

at::Tensor deny_a(const DenyInputs& inputs) {
  return average_over_passes(inputs, [](const Output& output) { return -prediction_entropy(output.logits); });
}

}  // namespace spankey
