#include "spankey/keys/permutation.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cstddef>
#include <mutex>
#include <span>
#include <utility>

#include "base/digest.h"
#include "base/error.h"
#include "base/stream.h"

namespace spankey {
namespace {

std::vector<std::byte> packed_signs(const float* key, std::int64_t d) {
  std::vector<std::byte> bits(static_cast<std::size_t>((d + 7) / 8));
  for (std::int64_t i = 0; i < d; ++i)
    if (key[i] < 0) bits[static_cast<std::size_t>(i / 8)] |= std::byte{1} << (i % 8);
  return bits;
}

// The shape (outer, features, inner) of one sample, in which the middle index moves.
struct MovedAxis {
  std::int64_t outer, features, inner;
};

MovedAxis axis_of(Moves moves, at::IntArrayRef sample) {
  std::int64_t elements = 1;
  for (const std::int64_t extent : sample) elements *= extent;
  switch (moves) {
    case Moves::channels:
      return {1, sample.front(), elements / sample.front()};
    case Moves::numbers:
      return {elements / sample.back(), sample.back(), 1};
    default:
      SPANKEY_CHECK(moves == Moves::elements);
      return {1, elements, 1};
  }
}

// The order of all elements of a sample in (C, H, W) order, (1, d) int64.
at::Tensor element_order(const MovedAxis& axis, const std::vector<std::int64_t>& features) {
  const at::Tensor order = at::empty({1, axis.outer * axis.features * axis.inner}, at::kLong);
  auto* to = order.mutable_data_ptr<std::int64_t>();
  for (std::int64_t o = 0; o < axis.outer; ++o)
    for (std::int64_t f = 0; f < axis.features; ++f)
      for (std::int64_t i = 0; i < axis.inner; ++i)
        *to++ = (o * axis.features + features[static_cast<std::size_t>(f)]) * axis.inner + i;
  return order;
}

// The same order with both its places and its values counted in the order of h's memory.
at::Tensor in_order_of(const at::Tensor& order, const at::Tensor& h) {
  if (!is_channels_last(h)) return order.view({-1});
  const at::Tensor elements = in_memory_order(at::arange(order.numel(), at::kLong).view({1, -1}), h).view({-1});
  const at::Tensor place = at::empty_like(elements).scatter_(0, elements, at::arange(order.numel(), at::kLong));
  return place.index_select(0, in_memory_order(order, h).view({-1}));
}

}  // namespace

std::vector<PermutedPoint> permuted_points(const Config& config) {
  return permuted_points(config.model.name, config.key.permute);
}

std::vector<PermutedPoint> permuted_points(const std::string& network, const std::vector<std::int64_t>& points) {
  std::vector<PermutedPoint> permuted;
  for (const std::int64_t point : points) permuted.push_back({point, moves_at(network, point)});
  return permuted;
}

std::uint64_t sign_seed(const std::vector<at::Tensor>& keys) {
  Sha256 hash;
  for (const at::Tensor& layer : keys) {
    const at::Tensor rows = layer.detach().to(at::kCPU, at::kFloat).contiguous();
    SPANKEY_CHECK_EQ(rows.dim(), 2);
    const std::int64_t n = rows.size(0), d = rows.size(1);
    const auto bits = packed_signs(rows.const_data_ptr<float>(), d);
    for (std::int64_t row = 1; row < n; ++row)
      SPANKEY_CHECK(packed_signs(rows.const_data_ptr<float>() + row * d, d) == bits);
    hash.update_int64(d).update(std::span(bits));
  }
  const Digest digest = hash.finish();
  std::uint64_t seed = 0;
  for (std::size_t i = 0; i < sizeof seed; ++i) seed = seed << 8 | digest[i];
  return seed;
}

struct Permutation::Orders {
  struct Made {
    std::int64_t point;
    std::vector<std::int64_t> sizes;  // of one sample
    bool channels_last;
    at::Tensor order;
  };
  std::mutex mutex;
  std::vector<Made> made;
};

Permutation::Permutation(std::uint64_t seed, std::vector<PermutedPoint> points)
    : seed_(seed), points_(std::move(points)), orders_(std::make_shared<Orders>()) {}

bool Permutation::at(std::int64_t point) const {
  return std::any_of(points_.begin(), points_.end(), [&](const PermutedPoint& p) { return p.point == point; });
}

at::Tensor Permutation::order(std::int64_t point, const at::Tensor& h) const {
  const auto sample = h.sizes().slice(1);
  const bool channels_last = is_channels_last(h);
  const std::lock_guard lock(orders_->mutex);
  for (const auto& made : orders_->made)
    if (made.point == point && sample.equals(made.sizes) && made.channels_last == channels_last &&
        made.order.device() == h.device())
      return made.order;
  const auto found =
      std::find_if(points_.begin(), points_.end(), [&](const PermutedPoint& p) { return p.point == point; });
  SPANKEY_CHECK(found != points_.end());
  const MovedAxis axis = axis_of(found->moves, sample);
  const auto features = permutation(
      {.seed = seed_, .purpose = Purpose::key_permutation, .layer = static_cast<std::uint32_t>(point)}, axis.features);
  const at::Tensor order = in_order_of(element_order(axis, features), h).to(h.device());
  orders_->made.push_back({point, sample.vec(), channels_last, order});
  return order;
}

std::shared_ptr<const Permutation> permutation_of(const std::vector<at::Tensor>& keys,
                                                  const std::vector<PermutedPoint>& points) {
  return points.empty() ? nullptr : std::make_shared<const Permutation>(sign_seed(keys), points);
}

std::shared_ptr<const Permutation> cone_permutation(const std::vector<LayerBasis>& bases,
                                                    const std::vector<PermutedPoint>& points) {
  if (points.empty()) return nullptr;
  std::vector<at::Tensor> middle;
  for (const LayerBasis& basis : bases) middle.push_back(basis.flat().sum(0, true));
  return permutation_of(middle, points);
}

}  // namespace spankey
