// Example 06's network for 32 x 32 images of three channels: timm's vit_tiny with patches of 4 x 4 (64 tokens and the
// class token), 12 blocks of width 192 with 3 heads. Injection points: after the position embedding and after block 5;
// the class token is keyed like the others.
#pragma once

#include "spankey/model.h"

namespace spankey {

std::shared_ptr<Model> make_vit_tiny(const ModelOptions& options);

}  // namespace spankey
