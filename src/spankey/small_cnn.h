// Examples 02 and 05's network for 28 x 28 images of one channel: two 3 x 3 convolutions (16, 32), each with 2 x 2 max
// pooling and ReLU, and one linear layer. Injection points: the input and after either pooling.
#pragma once

#include "spankey/model.h"

namespace spankey {

std::shared_ptr<Model> make_small_cnn(const ModelOptions& options);

}  // namespace spankey
