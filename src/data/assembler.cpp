#include "data/assembler.h"

#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <c10/util/accumulate.h>

#include <algorithm>
#include <vector>

#include "base/error.h"
#include "data/assemble_op.h"
#include "data/normalisation.h"

namespace spankey {
namespace {

// Error(bad_input) when the augmentation does not fit the samples.
void require_augment(const Dataset& dataset, Augment augment) {
  if (augment == Augment::none) return;
  if (!dataset.is_images())
    fail_input("data.augment = {}: the data set has no images; accepted: none", to_string(augment));
  // The fixed point holds coordinates below 2^15, margins included.
  const auto& shape = dataset.info().sample_shape;
  if (augment == Augment::affine && std::max(shape[1], shape[2]) >= 8192)
    fail_input("data.augment = affine: accepted for images below 8192 pixels a side");
}

// The numbers where they lie; they are only read.
template <class T>
at::Tensor view_of(std::span<const T> values, const std::vector<std::int64_t>& shape, at::ScalarType type) {
  return at::from_blob(const_cast<T*>(values.data()), shape, at::TensorOptions(type));
}

}  // namespace

Assembler::Assembler(const Dataset& dataset, const Split& split, Augment augment, std::uint64_t seed, Purpose purpose,
                     double rotation, at::Device device) {
  require_augment(dataset, augment);
  std::vector<std::int64_t> shape = dataset.info().sample_shape;
  shape.insert(shape.begin(), split.size);
  labels_ = view_of<std::int64_t>(split.labels, {split.size}, at::kLong).to(device);
  if (!dataset.is_images()) {
    features_ = view_of<float>(split.features, shape, at::kFloat).to(device);
    return;
  }
  images_ = view_of<std::uint8_t>(split.images, shape, at::kByte).to(device);
  table_ = normalisation_table(dataset.info().mean, dataset.info().std).to(device);
  plan_ = {.channels = shape[1],
           .height = shape[2],
           .width = shape[3],
           .augment = augment,
           .rotation = static_cast<float>(rotation),
           .seed = seed,
           .purpose = static_cast<std::uint32_t>(purpose),
           .channels_last = false};
}

std::pair<at::Tensor, at::Tensor> Assembler::operator()(const at::Tensor& samples, const at::Tensor& position,
                                                        bool channels_last, at::ScalarType type) const {
  const at::Tensor labels = labels_.index_select(0, samples);
  if (features_.defined()) return {features_.index_select(0, samples).to(type), labels};
  AssemblyPlan plan = plan_;
  plan.channels_last = channels_last;
  return {assemble(images_, table_, samples, position, plan, type), labels};
}

void Assembler::operator()(std::span<const std::int64_t> samples, std::int64_t epoch, at::Tensor& x,
                           at::Tensor& labels) const {
  const std::int64_t size = prepare(std::ssize(samples), x, labels);
  auto* const values = x.data_ptr<float>();
  auto* const targets = labels.data_ptr<std::int64_t>();
  constexpr std::int64_t grain_elements = 1 << 15;  // tens of microseconds: worth waking a thread for
  const std::int64_t grain = std::max<std::int64_t>(1, grain_elements / size);
  at::parallel_for(0, std::ssize(samples), grain, [&](std::int64_t begin, std::int64_t end) {
    fill_rows(samples.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin)), epoch,
              values + begin * size, targets + begin);
  });
}

void Assembler::serially(std::span<const std::int64_t> samples, std::int64_t epoch, at::Tensor& x,
                         at::Tensor& labels) const {
  prepare(std::ssize(samples), x, labels);
  fill_rows(samples, epoch, x.data_ptr<float>(), labels.data_ptr<std::int64_t>());
}

std::int64_t Assembler::prepare(std::int64_t count, at::Tensor& x, at::Tensor& labels) const {
  std::vector<std::int64_t> shape = (features_.defined() ? features_ : images_).sizes().vec();
  shape[0] = count;
  if (!x.defined() || x.sizes() != at::IntArrayRef(shape) || x.scalar_type() != at::kFloat || !x.is_contiguous()) {
    x = at::empty(shape, at::kFloat);
  }
  if (!labels.defined() || labels.sizes() != at::IntArrayRef(count) || labels.scalar_type() != at::kLong ||
      !labels.is_contiguous()) {
    labels = at::empty({count}, at::kLong);
  }
  return c10::multiply_integers(shape.begin() + 1, shape.end());
}

void Assembler::fill_rows(std::span<const std::int64_t> samples, std::int64_t epoch, float* x,
                          std::int64_t* labels) const {
  SPANKEY_CHECK(labels_.is_cpu());
  const auto* known = labels_.const_data_ptr<std::int64_t>();
  for (const std::int64_t sample : samples) {
    SPANKEY_CHECK_GE(sample, 0);
    SPANKEY_CHECK_LT(sample, labels_.numel());
    *labels++ = known[sample];
  }
  if (images_.defined()) {
    const std::span images(images_.const_data_ptr<std::uint8_t>(), static_cast<std::size_t>(images_.numel()));
    return assemble_rows(plan_, images, table_.const_data_ptr<float>(), samples, epoch, x);
  }
  const std::int64_t size = features_.size(1);
  const auto* features = features_.const_data_ptr<float>();
  for (const std::int64_t sample : samples) x = std::copy_n(features + sample * size, size, x);
}

}  // namespace spankey
