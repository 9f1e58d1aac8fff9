#include "data/resident_data.h"

#include <ATen/ATen.h>

#include <vector>

#include "base/error.h"
#include "data/assemble_op.h"
#include "data/assembler.h"

namespace spankey {
namespace {

// A tensor over existing memory, which is only read.
template <class T>
at::Tensor view_of(const T* values, at::IntArrayRef shape, at::ScalarType type) {
  return at::from_blob(const_cast<T*>(values), shape, at::TensorOptions(type));
}

}  // namespace

ResidentData::ResidentData(const Dataset& dataset, const Split& split, Augment augment, std::uint64_t seed,
                           Purpose purpose, double rotation, at::Device device) {
  require_augment(dataset, augment);
  std::vector<std::int64_t> shape = dataset.info().sample_shape;
  shape.insert(shape.begin(), split.size);
  labels_ = view_of(split.labels.data(), {split.size}, at::kLong).to(device);
  if (!dataset.is_images()) {
    features_ = view_of(split.features.data(), shape, at::kFloat).to(device);
    return;
  }
  images_ = view_of(split.images.data(), shape, at::kByte).to(device);
  const auto table = normalisation_table(dataset.info());
  table_ = view_of(table[0].data(), {shape[1], 256}, at::kFloat).clone().to(device);
  plan_ = {.channels = shape[1],
           .height = shape[2],
           .width = shape[3],
           .augment = augment,
           .rotation = static_cast<float>(rotation),
           .seed = seed,
           .purpose = static_cast<std::uint32_t>(purpose),
           .channels_last = false};
}

std::pair<at::Tensor, at::Tensor> ResidentData::assemble(const at::Tensor& samples, const at::Tensor& position,
                                                         bool channels_last, at::ScalarType type) const {
  const at::Tensor labels = labels_.index_select(0, samples);
  if (features_.defined()) return {features_.index_select(0, samples).to(type), labels};
  AssemblyPlan plan = plan_;
  plan.channels_last = channels_last;
  return {spankey::assemble(images_, table_, samples, position, plan, type), labels};
}

}  // namespace spankey
