// Example 01's network: D - 64 - 32 - classes with ReLU between. Injection points: the input and both hidden layers
// before their ReLU.
#pragma once

#include "spankey/model.h"

namespace spankey {

std::shared_ptr<Model> make_mlp(const ModelOptions& options);

}  // namespace spankey
