// Mode AC is the mean of A_soft and C.
#include <ATen/ATen.h>

#include "spankey/deny/deny.h"

namespace spankey {

at::Tensor deny_ac(const DenyInputs& inputs) {
  return 0.5 * (deny_a_soft(inputs) + deny_c(inputs));
}

}  // namespace spankey
