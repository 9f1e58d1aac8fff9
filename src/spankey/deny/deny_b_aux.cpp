// Mode B_aux has a separate head that tells denied passes (1) from the correct one (0). Mean of the binary cross
// entropies of all passes, the correct one among them.
#include <ATen/ATen.h>

#include "spankey/deny/deny.h"

namespace spankey {

at::Tensor deny_b_aux(const DenyInputs& inputs) {
  // log(1 + e^z) = cross entropy of logit z against 0; -z against 1. The form of binary_cross_entropy_with_logits.
  const auto against_zero = [](const at::Tensor& z) { return z.clamp_min(0) + (-z.abs()).exp().log1p(); };
  at::Tensor sum = against_zero(inputs.correct.reject);
  double passes = 1;
  for (const Output* output : {inputs.wrong, inputs.none}) {
    if (!output) continue;
    sum = sum + against_zero(-output->reject);
    passes += 1;
  }
  return sum / passes;
}

}  // namespace spankey
