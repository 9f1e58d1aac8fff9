#include "data/glyphs.h"

#include <ATen/ATen.h>

#include <set>
#include <string_view>

#include "data/assembler.h"
#include "support/expect_error.h"

namespace spankey::glyphs_test {
namespace {

std::shared_ptr<const Dataset> builtin() {
  static const auto data = Dataset::open("builtin:glyphs", Verify::auto_);
  return data;
}

// The same on every machine; a change of this digest changes every result made with the built-in data.
TEST(Glyphs, DigestIsPinned) {
  EXPECT_EQ(builtin()->info().digest, "e8ed8dddc2b7f58f5dfe4d73c18b8a622c0fc3e370b62937a3082db2de654884");
}

TEST(Glyphs, SizesClassesAndBalance) {
  const auto& info = builtin()->info();
  EXPECT_EQ(builtin()->train().size, 4096);
  EXPECT_EQ(builtin()->test().size, 1024);
  EXPECT_EQ(info.sample_shape, (std::vector<std::int64_t>{1, 28, 28}));
  EXPECT_EQ(info.classes, 10);
  for (const Split* split : {&builtin()->train(), &builtin()->test()}) {
    for (const auto count : builtin()->class_counts(*split)) {
      EXPECT_NEAR(static_cast<double>(count), static_cast<double>(split->size) / 10, 1);
    }
  }
  EXPECT_LT(builtin()->majority_rate(builtin()->test()), 0.102);
}

TEST(Glyphs, ASmallerSetIsTheBeginningOfALargerOne) {
  const auto small = make_glyphs(20, 10), large = make_glyphs(50, 30);
  EXPECT_TRUE(std::equal(small.train.images.begin(), small.train.images.end(), large.train.images.begin()));
  EXPECT_TRUE(std::equal(small.test.images.begin(), small.test.images.end(), large.test.images.begin()));
  EXPECT_FALSE(std::equal(small.test.images.begin(), small.test.images.end(), large.train.images.begin()));
  EXPECT_ERROR(make_glyphs(0, 1), ExitCode::bad_input,
               "glyphs: 0 train and 1 test images asked for; accepted: 1 or more");
}

TEST(Glyphs, NoTwoImagesAreEqual) {
  const auto& images = builtin()->train().images;
  std::set<std::string_view> seen;
  for (std::size_t i = 0; i < images.size(); i += 784) {
    seen.emplace(reinterpret_cast<const char*>(images.data()) + i, 784);
  }
  EXPECT_EQ(seen.size(), 4096u);
}

// (n, 785) pixels and a constant, (n) labels
std::pair<at::Tensor, at::Tensor> design(const Split& split) {
  const Assembler assembler(*builtin(), split, Augment::none, 0, Purpose::test);
  std::vector<std::int64_t> all(static_cast<std::size_t>(split.size));
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<std::int64_t>(i);
  at::Tensor x, labels;
  assembler(all, 0, x, labels);
  return {at::cat({x.flatten(1), at::ones({split.size, 1})}, 1).to(at::kDouble), labels};
}

// Hard enough that a linear model does not solve it (least squares on one-hot labels with the best of several ridges),
// and not noise. A small convolutional network reaches about .98 in six epochs (docs/results/demo.md).
TEST(Glyphs, ALinearModelStaysBelow95Percent) {
  const auto [x, labels] = design(builtin()->train());
  const auto [test_x, test_labels] = design(builtin()->test());
  const auto targets = at::one_hot(labels, 10).to(at::kDouble);
  double best = 0;
  for (const double ridge : {1.0, 30.0, 300.0, 3000.0}) {
    const auto weights = at::linalg_solve(at::mm(x.t(), x) + ridge * at::eye(785, at::kDouble), at::mm(x.t(), targets));
    best = std::max(best, at::mm(test_x, weights).argmax(1).eq(test_labels).to(at::kDouble).mean().item<double>());
  }
  RecordProperty("linear_accuracy", std::to_string(best));
  EXPECT_LT(best, 0.95);
  EXPECT_GT(best, 0.6);
}

}  // namespace
}  // namespace spankey::glyphs_test
