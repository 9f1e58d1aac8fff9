// Batches from a resident split are those of the assembler, bit for bit.
#include "data/resident_data.h"

#include <ATen/ATen.h>

#include "data/assembler.h"
#include "data/make_data.h"
#include "support/expect_error.h"

namespace spankey::resident_data_test {
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

TEST(ResidentData, HasTheBitsOfTheAssembler) {
  const std::vector<std::int64_t> samples{41, 0, 7, 7, 63, 20, 33};
  const at::Tensor indices = at::tensor(samples, at::kLong);
  for (const std::vector<std::int64_t>& shape : {std::vector<std::int64_t>{1, 28, 28}, {3, 32, 32}, {2, 17, 30}}) {
    const auto data = test::make_image_data(64, 2, shape);
    for (const Augment augment : {Augment::none, Augment::affine, Augment::crop_flip}) {
      SCOPED_TRACE(std::string(to_string(augment)));
      const ResidentData resident(*data, data->train(), augment, seed, Purpose::augment, 20.0, at::kCPU);
      for (const std::int64_t epoch : {0, 1, 70}) {
        const auto [expected, expected_labels] = assembled(*data, augment, samples, epoch);
        const auto [x, labels] = resident.assemble(indices, position(epoch), false);
        EXPECT_TRUE(x.is_contiguous());
        EXPECT_TRUE(at::equal(x, expected));
        EXPECT_TRUE(at::equal(labels, expected_labels));
        const at::Tensor last = resident.assemble(indices, position(epoch), true).first;
        EXPECT_TRUE(last.is_contiguous(at::MemoryFormat::ChannelsLast));
        EXPECT_TRUE(at::equal(last, expected));
        const at::Tensor half = resident.assemble(indices, position(epoch), true, at::kBFloat16).first;
        EXPECT_TRUE(at::equal(half, expected.to(at::kBFloat16)));
        // The negative control: another epoch is another batch, unless nothing is drawn.
        const at::Tensor other = resident.assemble(indices, position(epoch + 1), false).first;
        EXPECT_EQ(at::equal(other, expected), augment == Augment::none);
      }
    }
  }
}

TEST(ResidentData, GathersFeatures) {
  const auto data = Dataset::in_memory(test::make_feature_content(6, 2, 4));
  const ResidentData resident(*data, data->train(), Augment::none, seed, Purpose::augment, 0.0, at::kCPU);
  const auto [x, labels] = resident.assemble(at::tensor({5, 1}, at::kLong), position(0), true);
  const auto [expected, expected_labels] = assembled(*data, Augment::none, {5, 1}, 0);
  EXPECT_TRUE(at::equal(x, expected));
  EXPECT_TRUE(at::equal(labels, expected_labels));
}

TEST(ResidentData, RefusesWhatItCannotDo) {
  const auto features = Dataset::in_memory(test::make_feature_content(6, 2, 4));
  EXPECT_ERROR(ResidentData(*features, features->train(), Augment::crop_flip, seed, Purpose::augment, 0.0, at::kCPU),
               ExitCode::bad_input, "data.augment = crop_flip: the data set has no images; accepted: none");
  const auto data = test::make_image_data(4, 1, {1, 4, 4});
  const ResidentData resident(*data, data->train(), Augment::none, seed, Purpose::augment, 0.0, at::kCPU);
  EXPECT_ANY_THROW(resident.assemble(at::tensor({4}, at::kLong), position(0), false));
}

}  // namespace
}  // namespace spankey::resident_data_test
