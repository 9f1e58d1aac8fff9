// The parts of a network's weights that attacks train, cut or round.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "spankey/models/model.h"

namespace spankey {

// Everything that a layer adds: the parameters that are named bias, those of normalisations included.
std::vector<at::Tensor> biases(const Model& model);
// Weight and bias of every BatchNorm.
std::vector<at::Tensor> batch_norm_affine(Model& model);
// Matrices and kernels of linear layers and convolutions, without biases, normalisations and embeddings.
std::vector<at::Tensor> matrices(const Model& model);

// The last matrix with a row for each of `outputs`, its bias, and the reject head.
std::vector<at::Tensor> last_layer(const Model& model, std::int64_t outputs);

}  // namespace spankey
