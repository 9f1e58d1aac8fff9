#include "data/assembler.h"

#include <ATen/Functions.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace spankey {

namespace {

using Table = std::array<float, 256>;

struct Plane {
  const std::uint8_t* pixels;
  std::int64_t width, height;
};

void copy_plane(const Plane& in, const Table& table, float* out) {
  for (std::int64_t i = 0; i < in.width * in.height; ++i) out[i] = table[in.pixels[i]];
}

// An affine map reads from a copy of the plane surrounded by zeros. The border is wide enough for every map of the
// augmentation, so that no pixel needs a bounds check. Rows start at multiples of a power of two, so that an index
// takes no multiplication.
PaddedPlane padded_plane(std::int64_t width, std::int64_t height, float rotation) {
  // Rotation moves a corner out of the plane by no more than its own movement and keeps it in the circle around the
  // plane. The shift comes on top.
  const double reach = 0.5 * std::hypot(static_cast<double>(width), static_cast<double>(height));
  const double turned = std::min(0.0175 * rotation * reach, reach - 0.5 * static_cast<double>(std::min(width, height)));
  const auto side = static_cast<double>(std::max(width, height));
  PaddedPlane plane;
  plane.margin = static_cast<std::int64_t>(std::ceil(turned + augmentation::affine_translate * side)) + 2;
  while ((std::int64_t{1} << plane.row_bits) < width + 2 * plane.margin) ++plane.row_bits;
  plane.pixels.resize(static_cast<std::size_t>((height + 2 * plane.margin) << plane.row_bits));
  plane.source.resize(static_cast<std::size_t>(width * height));
  return plane;
}

// Per output pixel the place in the padded plane that it shows.
void affine_sources(const FixedAffine& m, std::int64_t width, std::int64_t height, PaddedPlane& plane) {
  const auto margin = static_cast<std::int32_t>(plane.margin << 16);
  const int row_bits = plane.row_bits;
  const std::int32_t row_mask = -(1 << row_bits);
  std::int32_t* source = plane.source.data();
  std::int32_t row_x = m.x0 + margin, row_y = m.y0 + margin;
  for (std::int64_t y = 0; y < height; ++y, row_x += m.xy, row_y += m.yy, source += width) {
    std::int32_t at_x = row_x, at_y = row_y;
    for (std::int64_t x = 0; x < width; ++x, at_x += m.xx, at_y += m.yx)
      source[x] = ((at_y >> (16 - row_bits)) & row_mask) + (at_x >> 16);
  }
}

void gather_plane(const Plane& in, const Table& table, PaddedPlane& padded, float* out) {
  std::uint8_t* row = padded.pixels.data() + (padded.margin << padded.row_bits) + padded.margin;
  for (std::int64_t y = 0; y < in.height; ++y, row += std::int64_t{1} << padded.row_bits)
    std::copy_n(in.pixels + y * in.width, in.width, row);
  const std::int32_t* source = padded.source.data();
  const std::uint8_t* pixels = padded.pixels.data();
  for (std::int64_t i = 0; i < in.width * in.height; ++i) out[i] = table[pixels[source[i]]];
}

// Output column x shows input column x + shift_x, or its mirror image.
void crop_plane(const Plane& in, std::int64_t shift_x, std::int64_t shift_y, bool flip, const Table& table,
                float* out) {
  const float outside = table[0];
  const std::int64_t first = std::max<std::int64_t>(0, -shift_x), last = std::min(in.width, in.width - shift_x);
  for (std::int64_t y = 0; y < in.height; ++y, out += in.width) {
    const std::int64_t from_y = y + shift_y;
    if (from_y < 0 || from_y >= in.height) {
      std::fill_n(out, in.width, outside);
      continue;
    }
    const std::uint8_t* row = in.pixels + from_y * in.width + shift_x;
    std::fill(out, out + (flip ? in.width - last : first), outside);
    std::fill(out + (flip ? in.width - first : last), out + in.width, outside);
    if (flip) {
      for (std::int64_t x = first; x < last; ++x) out[in.width - 1 - x] = table[row[x]];
    } else {
      for (std::int64_t x = first; x < last; ++x) out[x] = table[row[x]];
    }
  }
}

}  // namespace

std::vector<std::array<float, 256>> normalisation_table(const DataInfo& info) {
  std::vector<std::array<float, 256>> table(info.mean.size());
  for (std::size_t c = 0; c < table.size(); ++c) {
    for (std::size_t v = 0; v < 256; ++v) {
      table[c][v] = (static_cast<float>(v) / 255.0f - info.mean[c]) / info.std[c];
    }
  }
  return table;
}

void require_augment(const Dataset& dataset, Augment augment) {
  if (augment == Augment::none) return;
  if (!dataset.is_images())
    fail_input("data.augment = {}: the data set has no images; accepted: none", to_string(augment));
  // The fixed point holds coordinates below 2^15, margins included.
  const auto& shape = dataset.info().sample_shape;
  if (augment == Augment::affine && std::max(shape[1], shape[2]) >= 8192)
    fail_input("data.augment = affine: accepted for images below 8192 pixels a side");
}

Assembler::Assembler(const Dataset& dataset, const Split& split, Augment augment, std::uint64_t seed, Purpose purpose,
                     double rotation)
    : split_(&split),
      sample_shape_(dataset.info().sample_shape),
      sample_size_(dataset.info().sample_size()),
      augment_(augment),
      seed_(seed),
      purpose_(purpose),
      rotation_(static_cast<float>(rotation)) {
  require_augment(dataset, augment);
  if (dataset.is_images()) normalised_ = normalisation_table(dataset.info());
}

void Assembler::operator()(std::span<const std::int64_t> samples, std::int64_t epoch, at::Tensor& x,
                           at::Tensor& labels) const {
  const auto count = static_cast<std::int64_t>(samples.size());
  prepare(count, x, labels);
  auto* const values = x.data_ptr<float>();
  auto* const targets = labels.data_ptr<std::int64_t>();
  constexpr std::int64_t grain_elements = 1 << 15;  // tens of microseconds: worth waking a thread for
  const std::int64_t grain = std::max<std::int64_t>(1, grain_elements / sample_size_);
  at::parallel_for(0, count, grain, [&](std::int64_t begin, std::int64_t end) {
    fill_rows(samples, epoch, begin, end, values, targets);
  });
}

void Assembler::serially(std::span<const std::int64_t> samples, std::int64_t epoch, at::Tensor& x,
                         at::Tensor& labels) const {
  const auto count = static_cast<std::int64_t>(samples.size());
  prepare(count, x, labels);
  fill_rows(samples, epoch, 0, count, x.data_ptr<float>(), labels.data_ptr<std::int64_t>());
}

void Assembler::prepare(std::int64_t count, at::Tensor& x, at::Tensor& labels) const {
  std::vector<std::int64_t> shape = {count};
  shape.insert(shape.end(), sample_shape_.begin(), sample_shape_.end());
  if (!x.defined() || x.sizes() != at::IntArrayRef(shape) || x.scalar_type() != at::kFloat || !x.is_contiguous()) {
    x = at::empty(shape, at::kFloat);
  }
  if (!labels.defined() || labels.sizes() != at::IntArrayRef(count) || labels.scalar_type() != at::kLong ||
      !labels.is_contiguous()) {
    labels = at::empty({count}, at::kLong);
  }
}

void Assembler::fill_rows(std::span<const std::int64_t> samples, std::int64_t epoch, std::int64_t begin,
                          std::int64_t end, float* x, std::int64_t* labels) const {
  PaddedPlane scratch;
  if (augment_ == Augment::affine) scratch = padded_plane(sample_shape_[2], sample_shape_[1], rotation_);
  for (std::int64_t row = begin; row < end; ++row) {
    const std::int64_t sample = samples[static_cast<std::size_t>(row)];
    SPANKEY_CHECK_GE(sample, 0);
    SPANKEY_CHECK_LT(sample, split_->size);
    labels[row] = split_->labels[static_cast<std::size_t>(sample)];
    float* out = x + row * sample_size_;
    if (normalised_.empty()) {
      std::copy_n(split_->features.data() + sample * sample_size_, sample_size_, out);
    } else {
      fill_image(sample, epoch, scratch, out);
    }
  }
}

void Assembler::fill_image(std::int64_t sample, std::int64_t epoch, PaddedPlane& scratch, float* out) const {
  const std::int64_t height = sample_shape_[1], width = sample_shape_[2], plane_size = height * width;
  const Stream stream({.seed = seed_,
                       .purpose = purpose_,
                       .epoch = static_cast<std::uint32_t>(epoch),
                       .sample = static_cast<std::uint64_t>(sample)});
  float u[3] = {};
  if (augment_ != Augment::none) stream.fill_uniform(u);
  const SampleMap map = sample_map(augment_, u, rotation_, width, height);
  if (augment_ == Augment::affine) affine_sources(map.affine, width, height, scratch);
  for (std::size_t c = 0; c < normalised_.size(); ++c, out += plane_size) {
    const auto offset = sample * sample_size_ + static_cast<std::int64_t>(c) * plane_size;
    const Plane plane{split_->images.data() + offset, width, height};
    const Table& table = normalised_[c];
    switch (augment_) {
      case Augment::none:
        copy_plane(plane, table, out);
        break;
      case Augment::affine:
        gather_plane(plane, table, scratch, out);
        break;
      case Augment::crop_flip:
        crop_plane(plane, map.shift_x, map.shift_y, map.flip, table, out);
        break;
    }
  }
}

}  // namespace spankey
