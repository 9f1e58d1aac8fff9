// Mode BU is B with one more term, which wants the class logits of denied passes to be equal, so that they tell nothing
// once the reject class is ignored. The loss is -log p_reject + KL(uniform || softmax(class logits)). The mean of the
// second term of BS over its drawn labels is this one plus log C, so that both have the same expected gradient, here
// without the noise of a draw. (Not in arXiv 2604.12254.)
#include <ATen/ATen.h>

#include "spankey/deny/deny.h"

namespace spankey {

at::Tensor deny_bu(const DenyInputs& inputs) {
  const std::int64_t classes = inputs.correct.logits.size(1) - 1;
  return deny_b(inputs) + average_over_passes(inputs, [&](const Output& output) {
           return divergence_from_uniform(output.logits.narrow(1, 0, classes));
         });
}

}  // namespace spankey
