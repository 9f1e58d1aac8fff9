// The loss on features of deny.feature_weight. Experimental, and not in arXiv 2604.12254.
#pragma once

#include <ATen/core/Tensor.h>

#include "spankey/deny/deny.h"

namespace spankey {

// Returns the loss of each sample, (n), averaged over the denied passes. It is max(0, cos(f_i, mu_{y_i} - mu)), where
// f_i are the features of sample i in the denied pass, mu_c the mean over the samples of class c, and mu the mean over
// all, of the features of the correct pass. These means are constants of the gradient. A denied pass is thus taught not
// to point towards its own class in the space that a new last layer would read. A shard of one class has no directions,
// and its loss is 0.
at::Tensor feature_loss(const DenyInputs& inputs);

}  // namespace spankey
