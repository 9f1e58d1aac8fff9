#include "train/named_tensor.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cstring>

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

TEST(LayoutDigest, SeesNamesAndShapesOnly) {
  const auto digest = layout_digest({{"w", at::zeros({2, 3})}}, {});
  EXPECT_EQ(digest, layout_digest({{"w", at::ones({2, 3})}}, {}));
  EXPECT_NE(digest, layout_digest({{"w", at::zeros({3, 2})}}, {}));
  EXPECT_NE(digest, layout_digest({{"v", at::zeros({2, 3})}}, {}));
}

}  // namespace
}  // namespace spankey::named_tensor_test
