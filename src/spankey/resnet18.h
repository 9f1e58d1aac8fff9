// Example 04's network for 32 x 32 images of three channels: torchvision's ResNet-18 with a 3 x 3 first convolution and
// without the first pooling. Injection points: the input, after relu(bn1), after layer2, layer3 and layer4.
#pragma once

#include "spankey/model.h"

namespace spankey {

std::shared_ptr<Model> make_resnet18(const ModelOptions& options);

}  // namespace spankey
