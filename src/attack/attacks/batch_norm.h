// Measures running statistics anew, for W3 and for the first half of standardising a network that has BatchNorm.
#pragma once

#include "attack/fit.h"
#include "spankey/models/model.h"

namespace spankey {

// Puts mean and unbiased variance of what `images` give without a key in place of the running statistics of every
// BatchNorm: means over batches of largest_full_batch, weighted by their images, each batch normalised with its own.
// The network is left in evaluation mode.
void replace_statistics(Model& network, const Images& images);

}  // namespace spankey
