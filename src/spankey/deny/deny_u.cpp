// Mode U wants the class logits of denied passes to be equal, without a reject class. The loss is KL(uniform ||
// softmax(z)), 0 where all logits are equal. With deny.on = ["none"] it is the denial of the pass without a key alone.
// (Not in arXiv 2604.12254.)
#include <ATen/ATen.h>

#include "spankey/deny/deny.h"

namespace spankey {

at::Tensor deny_u(const DenyInputs& inputs) {
  return average_over_passes(inputs, [](const Output& output) { return divergence_from_uniform(output.logits); });
}

}  // namespace spankey
