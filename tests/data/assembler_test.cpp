#include "data/assembler.h"

#include <cmath>

#include "data/make_data.h"
#include "support/expect_error.h"

namespace spankey::assembler_test {
namespace {

using testing::HasSubstr;

std::vector<std::int64_t> iota(std::int64_t n) {
  std::vector<std::int64_t> values(static_cast<std::size_t>(n));
  for (std::int64_t i = 0; i < n; ++i) values[static_cast<std::size_t>(i)] = i;
  return values;
}

struct Assembled {
  at::Tensor x, labels;
};

Assembled assemble(const Dataset& data, Augment augment, const std::vector<std::int64_t>& samples,
                   std::int64_t epoch = 0, std::uint64_t seed = 5) {
  Assembled batch;
  Assembler(data, data.train(), augment, seed, Purpose::augment)(samples, epoch, batch.x, batch.labels);
  return batch;
}

// The three uniform draws of a sample, as the header of the assembler lays them down.
std::array<double, 3> draws(std::int64_t sample, std::int64_t epoch, std::uint64_t seed = 5) {
  const Stream stream({.seed = seed,
                       .purpose = Purpose::augment,
                       .epoch = static_cast<std::uint32_t>(epoch),
                       .sample = static_cast<std::uint64_t>(sample)});
  return {stream.uniform(0), stream.uniform(1), stream.uniform(2)};
}

// One image of the batch, before augmentation, with 0 outside.
struct Image {
  const Dataset& data;
  std::int64_t sample, channel;
  int operator()(std::int64_t y, std::int64_t x) const {
    const auto& s = data.info().sample_shape;
    if (y < 0 || y >= s[1] || x < 0 || x >= s[2]) return 0;
    return data.train().images[static_cast<std::size_t>(((sample * s[0] + channel) * s[1] + y) * s[2] + x)];
  }
};

float normalise(const Dataset& data, std::int64_t channel, int pixel) {
  const auto c = static_cast<std::size_t>(channel);
  return (static_cast<float>(pixel) / 255.0f - data.info().mean[c]) / data.info().std[c];
}

TEST(Assembler, GathersAndNormalises) {
  const auto data = test::make_image_data(9, 2, {2, 5, 7});
  const std::vector<std::int64_t> samples = {8, 0, 3};
  const auto [x, labels] = assemble(*data, Augment::none, samples);
  ASSERT_EQ(x.sizes(), (at::IntArrayRef{3, 2, 5, 7}));
  EXPECT_EQ(x.scalar_type(), at::kFloat);
  const auto values = x.accessor<float, 4>();
  for (std::int64_t row = 0; row < 3; ++row) {
    EXPECT_EQ(labels[row].item<std::int64_t>(), samples[static_cast<std::size_t>(row)] % 3);
    for (std::int64_t c = 0; c < 2; ++c) {
      const Image image{*data, samples[static_cast<std::size_t>(row)], c};
      for (std::int64_t i = 0; i < 35; ++i) {
        EXPECT_EQ(values[row][c][i / 7][i % 7], normalise(*data, c, image(i / 7, i % 7)));
      }
    }
  }
}

TEST(Assembler, WholeSplitHasMeanZeroAndDeviationOne) {
  const auto data = test::make_image_data(64, 2, {3, 6, 6});
  const auto x = assemble(*data, Augment::none, iota(64)).x.to(at::kDouble);
  for (std::int64_t c = 0; c < 3; ++c) {
    const auto channel = x.select(1, c);
    EXPECT_NEAR(channel.mean().item<double>(), 0, 1e-5);
    EXPECT_NEAR(channel.pow(2).mean().sqrt().item<double>(), 1, 1e-5);
  }
}

TEST(Assembler, CopiesFeatures) {
  const auto data = Dataset::in_memory(test::make_feature_content(6, 2, 4));
  const auto [x, labels] = assemble(*data, Augment::none, {5, 1});
  ASSERT_EQ(x.sizes(), (at::IntArrayRef{2, 4}));
  EXPECT_EQ(x[0][3].item<float>(), 0.25f * 23 - 1);
  EXPECT_EQ(x[1][0].item<float>(), 0.25f * 4 - 1);
  EXPECT_EQ(labels[0].item<std::int64_t>(), 1);
}

TEST(Assembler, CropFlipIsAWindowOfThePaddedImage) {
  const auto data = test::make_image_data(40, 1, {3, 32, 32});
  constexpr std::int64_t epoch = 3;
  const auto x = assemble(*data, Augment::crop_flip, iota(40), epoch).x;
  const auto values = x.accessor<float, 4>();
  int flips = 0;
  for (std::int64_t n = 0; n < 40; ++n) {
    const auto u = draws(n, epoch);
    const auto left = static_cast<std::int64_t>(9 * u[0]), top = static_cast<std::int64_t>(9 * u[1]);
    const bool flip = u[2] < 0.5;
    flips += flip;
    for (std::int64_t c = 0; c < 3; ++c) {
      const Image image{*data, n, c};
      for (std::int64_t y = 0; y < 32; ++y) {
        for (std::int64_t column = 0; column < 32; ++column) {
          // In the image padded to 40 x 40, whose pixel (4, 4) is the image's first.
          const std::int64_t padded_x = left + (flip ? 31 - column : column), padded_y = top + y;
          ASSERT_EQ(values[n][c][y][column], normalise(*data, c, image(padded_y - 4, padded_x - 4)));
        }
      }
    }
  }
  EXPECT_GT(flips, 5);
  EXPECT_LT(flips, 35);
}

// Pixels of the batch that differ from torchvision's formula, rotation and shift of pixel centres in double precision.
// `sense` -1 turns the other way: the negative control.
int affine_mismatches(const Dataset& data, std::int64_t count, double sense) {
  const auto x = assemble(data, Augment::affine, iota(count)).x;
  const auto values = x.accessor<float, 4>();
  const double pi = std::acos(-1.0);
  const auto& shape = data.info().sample_shape;
  const auto height = shape[1], width = shape[2];
  int mismatches = 0;
  for (std::int64_t n = 0; n < count; ++n) {
    const auto u = draws(n, 0);
    const double angle = sense * (12 * u[0] - 6) * pi / 180;
    const auto shift = [](double v, std::int64_t extent) {
      return std::round((2 * v - 1) * 0.06 * static_cast<double>(extent));
    };
    const double shift_x = shift(u[1], width), shift_y = shift(u[2], height);
    const double center_x = static_cast<double>(width) / 2, center_y = static_cast<double>(height) / 2;
    for (std::int64_t i = 0; i < height * width; ++i) {
      // Back: undo the shift, then turn by -angle about the centre (y points down).
      const double dx = static_cast<double>(i % width) + 0.5 - center_x - shift_x;
      const double dy = static_cast<double>(i / width) + 0.5 - center_y - shift_y;
      const double from_x = std::cos(angle) * dx + std::sin(angle) * dy + center_x;
      const double from_y = -std::sin(angle) * dx + std::cos(angle) * dy + center_y;
      // On the border between two pixels the rounding of the fixed point decides.
      if (std::abs(from_x - std::round(from_x)) < 2e-3 || std::abs(from_y - std::round(from_y)) < 2e-3) continue;
      const int pixel = Image{data, n, 0}(static_cast<std::int64_t>(std::floor(from_y)),
                                          static_cast<std::int64_t>(std::floor(from_x)));
      mismatches += values[n][0][i / width][i % width] != normalise(data, 0, pixel);
    }
  }
  return mismatches;
}

TEST(Assembler, AffineIsTorchvisionsRandomAffine) {
  for (const std::vector<std::int64_t>& shape : {std::vector<std::int64_t>{1, 28, 28}, {1, 33, 41}}) {
    const auto data = test::make_image_data(50, 1, shape);
    EXPECT_EQ(affine_mismatches(*data, 50, 1.0), 0);
    EXPECT_GT(affine_mismatches(*data, 50, -1.0), 1000);
  }
}

// Recorded from Pillow 13.0.0 (Image.transform, AFFINE, NEAREST) with torchvision's inverse matrix: angle 5.5 degrees,
// shift (2, -1), image 28 x 28 of (13 x + 7 y) mod 256: input value at some output pixels.
TEST(Assembler, FixedAffineAgreesWithPillow) {
  const FixedAffine m = fixed_affine(5.5f, 2, -1, 28, 28);
  const auto shown = [&](std::int32_t x, std::int32_t y) {
    const std::int32_t from_x = (m.xx * x + m.xy * y + m.x0) >> 16, from_y = (m.yx * x + m.yy * y + m.y0) >> 16;
    return from_x < 0 || from_x >= 28 || from_y < 0 || from_y >= 28 ? 0 : (13 * from_x + 7 * from_y) % 256;
  };
  EXPECT_EQ(shown(0, 0), 0);
  EXPECT_EQ(shown(5, 3), 61);
  EXPECT_EQ(shown(14, 14), 5);
  EXPECT_EQ(shown(27, 0), 56);
  EXPECT_EQ(shown(0, 27), 0);
  EXPECT_EQ(shown(27, 27), 15);
  EXPECT_EQ(shown(20, 9), 48);
  EXPECT_EQ(shown(9, 20), 2);
  EXPECT_EQ(shown(13, 26), 89);
  EXPECT_EQ(shown(3, 14), 125);
  EXPECT_EQ(shown(26, 5), 78);
  EXPECT_EQ(shown(17, 1), 196);
}

double chi_square(const std::vector<std::int64_t>& counts, const std::vector<double>& probabilities) {
  double total = 0, sum = 0;
  for (const auto count : counts) total += static_cast<double>(count);
  for (std::size_t i = 0; i < counts.size(); ++i) {
    const double expected = total * probabilities[i];
    sum += (static_cast<double>(counts[i]) - expected) * (static_cast<double>(counts[i]) - expected) / expected;
  }
  return sum;
}

// Where the one white pixel went: x in .first, y in .second.
std::pair<std::vector<std::int64_t>, std::vector<std::int64_t>> dot_positions(const Dataset& data, Augment augment) {
  const std::int64_t count = data.train().size, side = data.info().sample_shape[1];
  const auto at = assemble(data, augment, iota(count)).x.view({count, side * side}).argmax(1);
  std::pair<std::vector<std::int64_t>, std::vector<std::int64_t>> positions;
  for (std::int64_t i = 0; i < count; ++i) {
    const auto index = at[i].item<std::int64_t>();
    positions.first.push_back(index % side);
    positions.second.push_back(index / side);
  }
  return positions;
}

std::vector<std::int64_t> histogram(const std::vector<std::int64_t>& values, std::int64_t first, std::size_t bins) {
  std::vector<std::int64_t> counts(bins);
  for (const auto value : values) ++counts.at(static_cast<std::size_t>(value - first));
  return counts;
}

TEST(AssemblerStatistics, ShiftsOfAffine) {
  // U(-1.68, 1.68) rounded. The white pixel touches the centre, which a rotation by 6 degrees does not move.
  const double edge = 0.18 / 3.36, middle = 1 / 3.36;
  const std::vector<double> law = {edge, middle, middle, middle, edge};
  const auto [x, y] = dot_positions(*test::make_dot_data(6000, 28, 14, 14), Augment::affine);
  EXPECT_LT(chi_square(histogram(x, 12, 5), law), 18.5);  // .999 quantile, 4 degrees of freedom
  EXPECT_LT(chi_square(histogram(y, 12, 5), law), 18.5);
  // Negative control: five equally likely shifts.
  EXPECT_GT(chi_square(histogram(x, 12, 5), std::vector<double>(5, 0.2)), 18.5);
}

TEST(AssemblerStatistics, ShiftsOfCropAndFlip) {
  const std::vector<double> law(9, 1.0 / 9);
  const auto [x, y] = dot_positions(*test::make_dot_data(6000, 32, 16, 6), Augment::crop_flip);
  std::vector<std::int64_t> mirrored, plain;
  for (const auto value : x) (value >= 16 ? mirrored : plain).push_back(value);
  EXPECT_LT(chi_square(histogram(y, 12, 9), law), 26.1);  // .999 quantile, 8 degrees of freedom
  EXPECT_LT(chi_square(histogram(plain, 2, 9), law), 26.1);
  EXPECT_LT(chi_square(histogram(mirrored, 21, 9), law), 26.1);
  const auto half = static_cast<double>(x.size()) / 2;
  EXPECT_LT(std::abs(static_cast<double>(plain.size()) - half), 3.3 * std::sqrt(half / 2));
}

TEST(Assembler, ASampleDoesNotDependOnItsBatchOrThread) {
  const auto data = test::make_image_data(300, 1, {1, 28, 28});
  for (const Augment augment : {Augment::affine, Augment::crop_flip}) {
    const auto whole = assemble(*data, augment, iota(300));
    const auto part = assemble(*data, augment, {17, 250});
    EXPECT_TRUE(at::equal(part.x[0], whole.x[17]));
    EXPECT_TRUE(at::equal(part.x[1], whole.x[250]));
    Assembled serial;
    Assembler(*data, data->train(), augment, 5, Purpose::augment).serially(iota(300), 0, serial.x, serial.labels);
    EXPECT_TRUE(at::equal(serial.x, whole.x));
    EXPECT_TRUE(at::equal(serial.labels, whole.labels));
    // Negative control: epoch and seed do matter.
    EXPECT_FALSE(at::equal(assemble(*data, augment, iota(300), 1).x, whole.x));
    EXPECT_FALSE(at::equal(assemble(*data, augment, iota(300), 0, 6).x, whole.x));
  }
}

TEST(Assembler, FillsTensorsThatFitAndReplacesOthers) {
  const auto data = test::make_image_data(4, 1, {1, 4, 4});
  const Assembler assembler(*data, data->train(), Augment::none, 0, Purpose::augment);
  at::Tensor x, labels;
  assembler(iota(3), 0, x, labels);
  const void* memory = x.data_ptr();
  assembler(iota(3), 0, x, labels);
  EXPECT_EQ(x.data_ptr(), memory);
  assembler(iota(4), 0, x, labels);
  EXPECT_EQ(x.size(0), 4);
  EXPECT_EQ(labels.size(0), 4);
  assembler({}, 0, x, labels);
  EXPECT_EQ(x.sizes(), (at::IntArrayRef{0, 1, 4, 4}));
}

TEST(Assembler, RefusesWhatItCannotDo) {
  const auto features = Dataset::in_memory(test::make_feature_content(6, 2, 4));
  EXPECT_ERROR(Assembler(*features, features->train(), Augment::affine, 0, Purpose::augment), ExitCode::bad_input,
               "data.augment = affine: the data set has no images; accepted: none");
  const auto data = test::make_image_data(4, 1, {1, 4, 4});
  EXPECT_ERROR(assemble(*data, Augment::none, {4}), ExitCode::run_failed, HasSubstr("4 against 4"));
}

}  // namespace
}  // namespace spankey::assembler_test
