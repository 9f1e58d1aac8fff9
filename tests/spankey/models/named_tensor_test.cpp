#include "spankey/models/named_tensor.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/nn/module.h>

#include <cstring>

#include "support/expect_error.h"

namespace spankey::named_tensor_test {
namespace {

void append(std::string& bytes, const auto& value) {
  const auto at = bytes.size();
  bytes.resize(at + sizeof value);
  std::memcpy(bytes.data() + at, &value, sizeof value);
}

// The byte string that weights_sha256 is defined over, written out by hand.
TEST(WeightsDigest, CoversNameTypeShapeAndBytesInSortedOrder) {
  std::string expected("a\0float32\0", 10);
  append(expected, std::int64_t{2});
  append(expected, 1.5F);
  append(expected, -2.0F);
  expected += std::string("b\0float32\0", 10);
  append(expected, std::int64_t{1});
  append(expected, std::int64_t{1});
  append(expected, 4.0F);
  expected += std::string("n\0int64\0", 8);  // a scalar has no extents
  append(expected, std::int64_t{3});
  const auto digest = weights_digest({{"b", at::full({1, 1}, 4.0F)}, {"a", at::tensor({1.5F, -2.0F})}},
                                     {{"n", at::full({}, 3, at::kLong)}});
  EXPECT_EQ(to_hex(digest), to_hex(sha256(expected)));
}

TEST(WeightsDigest, OneBitChangesIt) {
  const auto w = at::ones({8});
  const auto before = weights_digest({{"w", w}}, {});
  w[3] = std::nextafter(1.0F, 2.0F);
  EXPECT_NE(before, weights_digest({{"w", w}}, {}));
}

TEST(LoadWeights, NamesEveryDifference) {
  torch::nn::Module network;
  network.register_parameter("a", at::zeros({2, 3}));
  network.register_parameter("b", at::zeros({1}));
  network.register_buffer("c", at::zeros({2}));
  load_weights({{"c", at::ones({2})}, {"b", at::full({1}, 2.0F)}, {"a", at::full({2, 3}, 3.0F)}}, network, "file");
  EXPECT_EQ(network.named_parameters()["b"].item<float>(), 2.0F);
  EXPECT_TRUE(at::equal(network.named_buffers()["c"], at::ones({2})));
  EXPECT_ERROR(load_weights({{"a", at::zeros({3, 2})}, {"c", at::zeros({2}, at::kDouble)}, {"d", at::zeros({1})}},
                            network, "file"),
               ExitCode::bad_input,
               "file: other weights than the network's: 'a' is float32 [3, 2], the network's is float32 [2, 3]; 'b' is "
               "missing; 'c' is float64 [2], the network's is float32 [2]; the network has no 'd'");
  EXPECT_TRUE(at::equal(network.named_buffers()["c"], at::ones({2})));  // nothing was copied
}

TEST(LayoutDigest, SeesNamesAndShapesOnly) {
  const auto digest = layout_digest({{"w", at::zeros({2, 3})}}, {});
  EXPECT_EQ(digest, layout_digest({{"w", at::ones({2, 3})}}, {}));
  EXPECT_NE(digest, layout_digest({{"w", at::zeros({3, 2})}}, {}));
  EXPECT_NE(digest, layout_digest({{"v", at::zeros({2, 3})}}, {}));
}

// Tensors of all the types that a network has, of odd sizes, one of them not contiguous.
std::vector<at::Tensor> odd_tensors() {
  return {at::arange(15, at::kFloat).reshape({3, 5}), at::arange(12, at::kFloat).reshape({3, 4}).t(),
          at::full({}, 7, at::kLong), at::arange(5, at::kDouble), at::arange(7, at::kByte)};
}

std::int64_t summed(const std::vector<at::Tensor>& tensors) {
  return detail::word_sum(tensors).item<std::int64_t>();
}

TEST(Checksum, SeesEveryFlippedBit) {
  const auto tensors = odd_tensors();
  const auto before = checksum(tensors);
  const auto sum = summed(tensors);
  std::int64_t bits = 0, seen = 0, seen_by_sum = 0;
  for (const auto& tensor : tensors) {
    auto* bytes = static_cast<std::uint8_t*>(tensor.mutable_data_ptr());
    for (std::size_t bit = 0; bit < 8 * tensor.nbytes(); ++bit, ++bits) {
      bytes[bit / 8] ^= static_cast<std::uint8_t>(1U << bit % 8);
      seen += checksum(tensors) != before;
      seen_by_sum += summed(tensors) != sum;
      bytes[bit / 8] ^= static_cast<std::uint8_t>(1U << bit % 8);
    }
  }
  EXPECT_EQ(bits, 8 * (15 * 4 + 12 * 4 + 8 + 5 * 8 + 7));
  EXPECT_EQ(seen, bits);
  EXPECT_EQ(seen_by_sum, bits);
  EXPECT_EQ(checksum(tensors), before) << "the control: nothing has changed";
  EXPECT_EQ(summed(tensors), sum);
}

TEST(Checksum, SeesWhatChangesPlaces) {
  const auto a = at::tensor({1.0F, 2.0F, 3.0F}), b = at::tensor({2.0F, 1.0F, 3.0F});
  EXPECT_NE(checksum({a}), checksum({b}));
  EXPECT_NE(checksum({a, b}), checksum({b, a}));
  EXPECT_NE(summed({a}), summed({b}));
  EXPECT_NE(summed({a, b}), summed({b, a}));
}

// The number of a word is computed in its block: the sum over several blocks is that of one.
TEST(Checksum, OfManyWordsIsOneSum) {
  const auto many = at::arange((1 << 22) + 3, at::kInt);
  auto moved = many.clone();
  moved[(1 << 22) + 1].copy_(many[1]);
  moved[1].copy_(many[(1 << 22) + 1]);
  EXPECT_NE(summed({many}), summed({moved})) << "places in different blocks have different numbers";
  EXPECT_EQ(summed({many}), summed({many.slice(0, 0, 5), many.slice(0, 5)}));
}

}  // namespace
}  // namespace spankey::named_tensor_test
