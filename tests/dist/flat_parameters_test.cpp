#include "dist/flat_parameters.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"

namespace spankey::flat_parameters_test {
namespace {

using Named = std::vector<std::pair<std::string, at::Tensor>>;

at::Tensor leaf(at::IntArrayRef shape, double start) {
  return (at::arange(c10::multiply_integers(shape), at::kFloat) + start).view(shape).requires_grad_(true);
}

struct Flat : testing::Test {
  at::Tensor a = leaf({2, 3}, 100), b = leaf({20}, 200), c = leaf({1}, 300);
  FlatParameters flat{Named{{"a", a}, {"b", b}, {"c", c}}};
};

TEST_F(Flat, LiesInBackwardOrderAtMultiplesOf64Bytes) {
  std::vector<std::string> names;
  std::vector<std::int64_t> offsets;
  for (const auto& entry : flat.entries()) {
    names.push_back(entry.name);
    offsets.push_back(entry.offset);
  }
  EXPECT_THAT(names, testing::ElementsAre("c", "b", "a"));
  EXPECT_THAT(offsets, testing::ElementsAre(0, 16, 48));
  EXPECT_EQ(flat.size(), 64);
  EXPECT_EQ(flat.find("b").size, 20);
  EXPECT_THROW(flat.find("d"), Error);
}

TEST_F(Flat, ParametersKeepTheirValuesAndAreViews) {
  EXPECT_TRUE(at::equal(a.detach(), at::arange(100, 106, at::kFloat).view({2, 3})));
  EXPECT_EQ(flat.weights().sum().item<float>(), 615 + 4190 + 300);  // gaps are zero
  flat.weights().mul_(2);
  EXPECT_EQ(a[1][2].item<float>(), 210);
  EXPECT_TRUE(a.is_leaf());
  EXPECT_TRUE(a.requires_grad());
  EXPECT_EQ(flat.gradients().abs().sum().item<float>(), 0);
}

TEST_F(Flat, BackwardWritesIntoTheFlatGradients) {
  (a.sum() * 2 + b.sum() * 3).backward();
  auto expected = at::zeros({64});
  expected.narrow(0, 16, 20).fill_(3);
  expected.narrow(0, 48, 6).fill_(2);
  EXPECT_TRUE(at::equal(flat.gradients(), expected));
  EXPECT_NO_THROW(flat.check_attached());
}

TEST_F(Flat, NoticesAGradientThatWasTornOff) {
  b.mutable_grad().reset();
  b.sum().backward();
  try {
    flat.check_attached();
    FAIL() << "not noticed";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("gradient of b"));
  }
}

TEST_F(Flat, NoticesReplacedData) {
  a.set_data(a.detach().clone());
  EXPECT_THROW(flat.check_attached(), Error);
}

TEST(FlatParameters, AreContiguousWhateverTheyWere) {
  auto weight = leaf({2, 3, 4, 4}, 0).detach().contiguous(at::MemoryFormat::ChannelsLast).requires_grad_(true);
  const auto before = weight.detach().clone();
  const FlatParameters flat(Named{{"weight", weight}});
  EXPECT_TRUE(weight.is_contiguous());
  EXPECT_TRUE(weight.grad().is_contiguous());
  EXPECT_TRUE(at::equal(weight.detach(), before));
}

TEST(FlatParameters, RefusesWhatCannotBeFlattened) {
  const auto good = leaf({2}, 0);
  const auto refused = [&](const at::Tensor& bad, const std::string& text) {
    try {
      FlatParameters(Named{{"good", good.detach().clone().requires_grad_(true)}, {"bad", bad}});
      ADD_FAILURE() << "accepted: " << text;
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), testing::AllOf(testing::HasSubstr("bad"), testing::HasSubstr(text)));
    }
  };
  refused(leaf({2}, 0).detach().to(at::kDouble).requires_grad_(true), "Double");
  refused(leaf({2}, 0).detach(), "leaf");
  refused(leaf({2}, 0) * 2, "leaf");
  EXPECT_THROW(FlatParameters(Named{{"a", good}, {"b", good}}), Error);
}

}  // namespace
}  // namespace spankey::flat_parameters_test
