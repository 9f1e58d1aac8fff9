// The row of an attack that has changed weights without training them.
#pragma once

#include "attack/context.h"

namespace spankey {

// The network as it now is, without a key. `detail`: what share of the answers it denies as shipped, and what the owner
// sees with valid keys.
Row row_of_weights(AttackContext& context);

}  // namespace spankey
