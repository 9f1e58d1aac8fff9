// Keeps all parameters of a model in one tensor and all gradients in another.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace spankey {

// Makes the parameters views of one flat weight tensor and their gradients views of one flat gradient tensor.
// Optimiser, reduction, snapshot and norm are then each one pass over contiguous memory.
//
// Backward order is the reverse of the order of registration, which is about the order in which gradients become final.
// Every parameter starts at a multiple of 64 bytes. The gaps are zero in both tensors at the start. They stay zero
// under any element-wise update that maps (weight 0, gradient 0) to 0, as all optimisers here do. Views are as view()
// has them, whatever the strides of the parameter were.
class FlatParameters {
 public:
  struct Entry {
    std::string name;
    at::Tensor parameter;
    std::int64_t offset = 0, size = 0;  // in elements
  };

  // `named` is in order of registration. It holds different leaves that require gradients, of one floating-point type
  // (float32 but in tests), on one device.
  explicit FlatParameters(const std::vector<std::pair<std::string, at::Tensor>>& named);

  const at::Tensor& weights() const { return weights_; }          // (size)
  const at::Tensor& gradients() const { return gradients_; }      // (size)
  std::int64_t size() const { return weights_.numel(); }          // elements, gaps included
  const std::vector<Entry>& entries() const { return entries_; }  // in backward order
  const Entry& find(std::string_view name) const;

  // The part of a flat tensor that belongs to a parameter, as a view in its shape. On a device the filters of
  // convolutions lie in channels_last order, as their kernels want them.
  static at::Tensor view(const at::Tensor& flat, const Entry& entry);

  // Throws Error(run_failed) with the parameter's name when its weight or gradient is no longer a view of the flat
  // tensors, as after zero_grad(set_to_none) or set_data.
  void check_attached(std::size_t entry) const;
  void check_attached() const;

 private:
  std::vector<Entry> entries_;
  at::Tensor weights_, gradients_;
};

}  // namespace spankey
