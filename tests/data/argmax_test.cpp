#include "data/argmax.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "support/temporary_folder.h"

namespace spankey::argmax_test {
namespace {

TEST(Argmax, SizesAndDigest) {
  const test::TemporaryFolder folder;
  render_argmax({}, folder / "argmax.h5");
  const auto data = Dataset::open(folder / "argmax.h5", Verify::always);
  EXPECT_EQ(data->train().size, 1600);
  EXPECT_EQ(data->test().size, 400);
  EXPECT_EQ(data->info().sample_shape, std::vector<std::int64_t>{20});
  EXPECT_EQ(data->info().classes, 5);
  EXPECT_EQ(data->info().digest, "050d50b9aaea17bcb187d1f456f5ad047d85311c3157479a016ac566462717ae");
  EXPECT_EQ(Dataset::open("builtin:argmax", Verify::auto_)->info().digest, data->info().digest);
}

TEST(Argmax, OtherSizes) {
  const auto content = make_argmax({.train = 7, .test = 3, .features = 4, .classes = 9});
  EXPECT_EQ(content.train.labels.size(), 7U);
  EXPECT_EQ(content.test.labels.size(), 3U);
  EXPECT_EQ(content.train.features.size(), 7U * 4U);
  EXPECT_EQ(content.test.features.size(), 3U * 4U);
  EXPECT_EQ(content.class_names.size(), 9U);
  const auto labels_of = [](const ArgmaxSizes& sizes) { return make_argmax(sizes).train.labels; };
  const auto many = labels_of({.train = 2000, .test = 1, .features = 20, .classes = 9});
  EXPECT_EQ(*std::max_element(many.begin(), many.end()), 8);
  EXPECT_NE(labels_of({.features = 19}), labels_of({}));
}

TEST(Argmax, FeaturesAreNormalWithDeviationOneHalf) {
  const auto x = make_argmax().train.features;
  const auto n = static_cast<double>(x.size());
  double sum = 0, square = 0, fourth = 0;
  for (const double v : x) {
    sum += v;
    square += v * v;
    fourth += v * v * v * v;
  }
  EXPECT_NEAR(sum / n, 0, 4 * 0.5 / std::sqrt(n));
  EXPECT_NEAR(square / n, 0.25, 4 * 0.25 * std::sqrt(2 / n));
  EXPECT_NEAR(fourth / (square * square / n), 3, 4 * std::sqrt(24 / n));  // the kurtosis of a normal
}

TEST(Argmax, EveryClassIsThereAndNoneDominates) {
  const auto data = Dataset::in_memory(make_argmax());
  for (const auto count : data->class_counts(data->train())) EXPECT_GT(count, 1600 / 20);
  EXPECT_LT(data->majority_rate(data->train()), 0.4);
}

// The labels come from a linear map without noise: logistic regression separates train and carries over to test. With
// shuffled labels (negative control) it cannot.
TEST(Argmax, LabelsAreALinearFunctionOfTheFeatures) {
  const DatasetContent content = make_argmax();
  const auto matrix = [](const SplitContent& split) {
    return at::tensor(split.features).view({-1, 20}).to(at::kDouble);
  };
  const auto train = matrix(content.train), test = matrix(content.test);
  const auto test_labels = at::tensor(content.test.labels);
  const auto accuracy = [&](const at::Tensor& labels) {
    const auto targets = at::one_hot(labels, 5).to(at::kDouble);
    auto weights = at::zeros({20, 5}, at::kDouble);
    for (int i = 0; i < 200; ++i) {
      const auto error = at::softmax(at::mm(train, weights), 1) - targets;
      weights -= 40.0 / 1600 * at::mm(train.t(), error);
    }
    return at::mm(test, weights).argmax(1).eq(test_labels).to(at::kDouble).mean().item<double>();
  };
  const auto labels = at::tensor(content.train.labels);
  EXPECT_GT(accuracy(labels), 0.97);
  EXPECT_LT(accuracy(labels.roll(1)), 0.5);
}

}  // namespace
}  // namespace spankey::argmax_test
