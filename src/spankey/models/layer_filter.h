// Shows the outputs of a network's layers to code outside of the network, which may change them. It exists because
// LibTorch's modules have no forward hooks in C++.
#pragma once

#include <ATen/Functions.h>
#include <ATen/core/Tensor.h>

#include <functional>

namespace spankey {

// As long as the object lives, every linear layer and every convolution with a bias that the calling thread runs in a
// network hands its output to `see`, in the order of the forward pass, and the network goes on with what `see` returns.
// Convolutions in front of BatchNorm have no bias and are not seen.
class LayerFilter {
 public:
  // `weight`: (out, ...). `bias`: (out). `output`: (n, out, H, W) of a convolution, (..., out) of a linear layer.
  using See = std::function<at::Tensor(const at::Tensor& weight, const at::Tensor& bias, const at::Tensor& output)>;
  explicit LayerFilter(See see);
  ~LayerFilter();
  LayerFilter(const LayerFilter&) = delete;
  LayerFilter& operator=(const LayerFilter&) = delete;

  // True where this thread has a filter. Fused kernels, which never form the output of a layer, then give way to
  // separate operators.
  static bool active();

 private:
  friend at::Tensor through_filter(const at::Tensor& weight, const at::Tensor& bias, const at::Tensor& output);

  See see_;
  LayerFilter* before_;
};

// Returns what a network goes on with after a layer, which is `output` itself where there is no filter.
at::Tensor through_filter(const at::Tensor& weight, const at::Tensor& bias, const at::Tensor& output);

// at::linear of a layer with a weight and a bias, through the filter.
template <class Linear>
at::Tensor filtered_linear(const at::Tensor& x, const Linear& layer) {
  return through_filter(layer->weight, layer->bias, at::linear(x, layer->weight, layer->bias));
}

}  // namespace spankey
