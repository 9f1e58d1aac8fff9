// What a holder of a key teaches a network without keys.
#pragma once

#include "attack/context.h"

namespace spankey {

// `images` with the class probabilities that the network gives with `key` in place of labels.
Images lesson_with_key(AttackContext& context, const Images& images, const Injection& key);

}  // namespace spankey
