// The row of an attack that has changed weights without training them.
#pragma once

#include "attack/context.h"

namespace spankey {

// Judges the network as it now is, without a key. `detail` has the share of the answers that it denies as shipped, and
// what the owner gets with valid keys.
Row row_of_weights(AttackContext& context);

}  // namespace spankey
