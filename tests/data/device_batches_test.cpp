// Batches that are asked for with tensors of a device, and the arithmetic of a device's kernel: both have the bits of
// the batches that the host asks for.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "data/assemble_body.h"
#include "data/assembler.h"
#include "data/make_data.h"
#include "support/expect_error.h"

namespace spankey::device_batches_test {
namespace {

constexpr std::uint64_t seed = 0xfedcba9876543210;  // both halves count

at::Tensor position(std::int64_t epoch) {
  return at::tensor({epoch, std::int64_t{3}}, at::kLong);
}

std::pair<at::Tensor, at::Tensor> assembled(const Dataset& data, Augment augment,
                                            const std::vector<std::int64_t>& samples, std::int64_t epoch) {
  at::Tensor x, labels;
  Assembler(data, data.train(), augment, seed, Purpose::augment, 20.0).serially(samples, epoch, x, labels);
  return {x, labels};
}

TEST(DeviceBatches, HaveTheBitsOfTheHosts) {
  const std::vector<std::int64_t> samples{41, 0, 7, 7, 63, 20, 33};
  const at::Tensor indices = at::tensor(samples, at::kLong);
  for (const std::vector<std::int64_t>& shape : {std::vector<std::int64_t>{1, 28, 28}, {3, 32, 32}, {2, 17, 30}}) {
    const auto data = test::make_image_data(64, 2, shape);
    for (const Augment augment : {Augment::none, Augment::affine, Augment::crop_flip}) {
      SCOPED_TRACE(std::string(to_string(augment)));
      const Assembler resident(*data, data->train(), augment, seed, Purpose::augment, 20.0, at::kCPU);
      for (const std::int64_t epoch : {0, 1, 70}) {
        const auto [expected, expected_labels] = assembled(*data, augment, samples, epoch);
        const auto [x, labels] = resident(indices, position(epoch), false);
        EXPECT_TRUE(x.is_contiguous());
        EXPECT_TRUE(at::equal(x, expected));
        EXPECT_TRUE(at::equal(labels, expected_labels));
        const at::Tensor last = resident(indices, position(epoch), true).first;
        EXPECT_TRUE(last.is_contiguous(at::MemoryFormat::ChannelsLast));
        EXPECT_TRUE(at::equal(last, expected));
        const at::Tensor half = resident(indices, position(epoch), true, at::kBFloat16).first;
        EXPECT_TRUE(at::equal(half, expected.to(at::kBFloat16)));
        // The negative control: another epoch is another batch, unless nothing is drawn.
        const at::Tensor other = resident(indices, position(epoch + 1), false).first;
        EXPECT_EQ(at::equal(other, expected), augment == Augment::none);
      }
    }
  }
}

// fill_pixel() for each pixel, as a GPU's kernel calls it.
at::Tensor pixel_by_pixel(const Dataset& data, const AssemblyPlan& plan, const std::vector<std::int64_t>& samples,
                          std::int64_t epoch) {
  std::vector<float> table;
  for (std::size_t c = 0; c < data.info().mean.size(); ++c)
    for (int v = 0; v < 256; ++v)
      table.push_back((static_cast<float>(v) / 255.0F - data.info().mean[c]) / data.info().std[c]);
  at::Tensor x = at::empty({std::ssize(samples), plan.channels, plan.height, plan.width}, at::kFloat);
  for (std::int64_t row = 0; row < std::ssize(samples); ++row) {
    const auto sample = samples[static_cast<std::size_t>(row)];
    const SampleMap map = sample_map(plan, epoch, sample);
    const auto* image = data.train().images.data() + sample * plan.channels * plan.pixels();
    for (std::int64_t pixel = 0; pixel < plan.pixels(); ++pixel)
      fill_pixel(plan, map, image, table.data(), row, pixel, x.mutable_data_ptr<float>());
  }
  return x;
}

TEST(DeviceBatches, PixelByPixelAreThoseOfTheHost) {
  const std::vector<std::int64_t> samples{41, 0, 7, 7, 63, 20, 33};
  for (const std::vector<std::int64_t>& shape : {std::vector<std::int64_t>{1, 28, 28}, {3, 32, 32}, {2, 17, 30}}) {
    const auto data = test::make_image_data(64, 2, shape);
    for (const Augment augment : {Augment::none, Augment::affine, Augment::crop_flip}) {
      SCOPED_TRACE(std::string(to_string(augment)));
      const AssemblyPlan plan{.channels = shape[0],
                              .height = shape[1],
                              .width = shape[2],
                              .augment = augment,
                              .rotation = 20.0F,
                              .seed = seed,
                              .purpose = static_cast<std::uint32_t>(Purpose::augment),
                              .channels_last = false};
      for (const std::int64_t epoch : {0, 70}) {
        const at::Tensor x = pixel_by_pixel(*data, plan, samples, epoch);
        EXPECT_TRUE(at::equal(x, assembled(*data, augment, samples, epoch).first));
        EXPECT_EQ(at::equal(x, assembled(*data, augment, samples, epoch + 1).first), augment == Augment::none);
      }
    }
  }
}

TEST(DeviceBatches, OfFeaturesAreGathered) {
  const auto data = Dataset::in_memory(test::make_feature_content(6, 2, 4));
  const Assembler resident(*data, data->train(), Augment::none, seed, Purpose::augment, 0.0, at::kCPU);
  const auto [x, labels] = resident(at::tensor({5, 1}, at::kLong), position(0), true);
  const auto [expected, expected_labels] = assembled(*data, Augment::none, {5, 1}, 0);
  EXPECT_TRUE(at::equal(x, expected));
  EXPECT_TRUE(at::equal(labels, expected_labels));
}

TEST(DeviceBatches, RefuseWhatCannotBeDone) {
  const auto features = Dataset::in_memory(test::make_feature_content(6, 2, 4));
  EXPECT_ERROR(Assembler(*features, features->train(), Augment::crop_flip, seed, Purpose::augment, 0.0, at::kCPU),
               ExitCode::bad_input, "data.augment = crop_flip: the data set has no images; accepted: none");
  const auto data = test::make_image_data(4, 1, {1, 4, 4});
  const Assembler resident(*data, data->train(), Augment::none, seed, Purpose::augment, 0.0, at::kCPU);
  EXPECT_ANY_THROW(resident(at::tensor({4}, at::kLong), position(0), false));
}

}  // namespace
}  // namespace spankey::device_batches_test
