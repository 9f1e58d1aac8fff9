// Standardises channels (W1ls). That undoes, without any label, what a deny loss has done to the scale and the mean of
// activations.
#pragma once

#include <ATen/core/Tensor.h>

#include "attack/fit.h"
#include "spankey/models/model.h"

namespace spankey {

// Changes the network so that over `images`, without a key, every output channel of a linear layer or of a convolution
// has mean 0 and standard deviation 1 before its activation function. Layer after layer, in the order of the forward
// pass, gets weight / std and (bias - mean) / std. Mean and std are over the images, and over the positions of a
// convolution or the tokens of a transformer. A channel without spread keeps its weight. BatchNorm standardises the
// convolutions in front of it. Its statistics are measured anew (replace_statistics), its weight becomes 1 and its bias
// 0. Layer norms stay.
void standardise_channels(Model& network, const Images& images);

}  // namespace spankey
