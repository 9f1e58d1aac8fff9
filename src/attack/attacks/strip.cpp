// O1: whoever holds the network sends no key and reads the class logits, so that a rejection is no hindrance.
#include "attack/context.h"

namespace spankey {

Row attack_strip(AttackContext& context, const Budget&) {
  auto& network = context.network();
  Row row;
  row.access =
      context.judge([&](const at::Tensor& x) { return network.forward(x, Injection::none()); }, context.reject());
  return row;
}

}  // namespace spankey
