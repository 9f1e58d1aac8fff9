// Example 03's network for 28 x 28 images of one channel: a stem of 32 channels, three residual stages of two blocks
// (32, 64, 128 channels; the last two halve the image), average pooling and one linear layer. Injection points: the
// input, after the stem, after layer2 and after layer3.
#pragma once

#include "spankey/model.h"

namespace spankey {

std::shared_ptr<Model> make_small_resnet(const ModelOptions& options);

}  // namespace spankey
