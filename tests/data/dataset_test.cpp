#include "data/dataset.h"

#include <array>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <functional>
#include <limits>
#include <optional>

#include "base/file.h"
#include "base/hdf5_file.h"
#include "data/make_data.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

// HDF5 itself loses a little memory on some damaged files; the address sanitizer's leak check need not repeat that.
extern "C" const char* __lsan_default_suppressions() {
  return "leak:libhdf5";
}

namespace spankey::dataset_test {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

using Shape = std::vector<std::int64_t>;

void expect_equal(const Dataset& a, const Dataset& b) {
  EXPECT_EQ(a.info().sample_shape, b.info().sample_shape);
  EXPECT_EQ(a.info().class_names, b.info().class_names);
  EXPECT_EQ(a.info().mean, b.info().mean);
  EXPECT_EQ(a.info().std, b.info().std);
  EXPECT_EQ(a.info().source, b.info().source);
  EXPECT_EQ(a.info().digest, b.info().digest);
  for (const auto& [x, y] : {std::pair(&a.train(), &b.train()), std::pair(&a.test(), &b.test())}) {
    EXPECT_EQ(x->size, y->size);
    EXPECT_EQ(x->labels, y->labels);
    EXPECT_TRUE(std::equal(x->images.begin(), x->images.end(), y->images.begin(), y->images.end()));
    EXPECT_TRUE(std::equal(x->features.begin(), x->features.end(), y->features.begin(), y->features.end()));
  }
}

TEST(Dataset, ImagesRoundTripThroughAFile) {
  const test::TemporaryFolder folder;
  const auto made = test::make_image_data(7, 5, {2, 3, 5});
  made->save(folder / "a.h5");
  const auto opened = Dataset::open(folder / "a.h5", Verify::always);
  expect_equal(*made, *opened);
  EXPECT_TRUE(opened->is_images());
  EXPECT_EQ(opened->info().sample_size(), 30);
  EXPECT_THAT(opened->class_counts(opened->train()), ElementsAre(3, 2, 2));
  EXPECT_DOUBLE_EQ(opened->majority_rate(opened->train()), 3.0 / 7);
}

TEST(Dataset, FeaturesRoundTripThroughAFile) {
  const test::TemporaryFolder folder;
  // An odd number of samples: what follows must be aligned nevertheless.
  const auto made = Dataset::in_memory(test::make_feature_content(7, 3, 5));
  made->save(folder / "a.h5");
  const auto opened = Dataset::open(folder / "a.h5", Verify::always);
  expect_equal(*made, *opened);
  EXPECT_FALSE(opened->is_images());
  EXPECT_EQ(opened->info().mean, std::vector<float>{0.0f});
  EXPECT_EQ(opened->info().std, std::vector<float>{1.0f});
}

TEST(Dataset, MeanAndDeviationAreThoseOfTheTrainSplit) {
  const auto data = test::make_image_data(7, 5, {2, 3, 5});
  for (std::size_t channel = 0; channel < 2; ++channel) {
    std::vector<double> values;
    for (std::size_t i = 0; i < data->train().images.size(); ++i) {
      if (i / 15 % 2 == channel) values.push_back(data->train().images[i] / 255.0);
    }
    double mean = 0, variance = 0;
    for (const double v : values) mean += v / static_cast<double>(values.size());
    for (const double v : values) variance += (v - mean) * (v - mean) / static_cast<double>(values.size());
    EXPECT_NEAR(data->info().mean[channel], mean, 1e-7);
    EXPECT_NEAR(data->info().std[channel], std::sqrt(variance), 1e-7);
  }
}

TEST(Dataset, AChannelWithoutVariationKeepsScaleOne) {
  auto content = test::make_image_content(4, 2, {1, 2, 2});
  content.train.images.assign(content.train.images.size(), 51);
  const auto data = Dataset::in_memory(std::move(content));
  EXPECT_FLOAT_EQ(data->info().mean[0], 0.2f);
  EXPECT_EQ(data->info().std[0], 1.0f);
}

TEST(Dataset, DigestCoversContentAndNotSource) {
  const auto digest = [](const std::function<void(DatasetContent&)>& change) {
    auto content = test::make_image_content(6, 3, {1, 4, 4});
    change(content);
    return Dataset::in_memory(std::move(content))->info().digest;
  };
  const std::string plain = digest([](auto&) {});
  EXPECT_EQ(digest([](auto& c) { c.source = "elsewhere"; }), plain);
  EXPECT_NE(digest([](auto& c) { c.train.images[5] ^= 1; }), plain);
  EXPECT_NE(digest([](auto& c) { c.test.images[5] ^= 1; }), plain);
  EXPECT_NE(digest([](auto& c) { c.test.labels[0] = 1; }), plain);
  EXPECT_NE(digest([](auto& c) { c.class_names[0] = "other"; }), plain);
  EXPECT_NE(digest([](auto& c) { c.sample_shape = {1, 2, 8}; }), plain);
}

TEST(Dataset, BuiltinsAreNamed) {
  EXPECT_EQ(Dataset::open("builtin:argmax", Verify::auto_)->train().size, 1600);
  EXPECT_ERROR(Dataset::open("builtin:glyph", Verify::auto_), ExitCode::bad_input,
               AllOf(HasSubstr("\"builtin:glyph\""), HasSubstr("builtin:glyphs"), HasSubstr("builtin:argmax")));
}

// A valid file with one thing changed: `change` gets the parts before they are written.
struct Parts {
  std::string format = "spankey data set", kind = "images";
  std::int64_t version = 1, classes = 2;
  std::vector<double> mean = {0.5}, std = {0.25};
  std::vector<std::string> class_names = {"a", "b"};
  Shape train_shape = {3, 1, 2, 2}, test_shape = {2, 1, 2, 2};
  std::vector<std::int64_t> train_labels = {0, 1, 0}, test_labels = {1, 1};
  bool float_images = false;
};

std::string write_parts(const test::TemporaryFolder& folder, const std::function<void(Parts&)>& change) {
  Parts parts;
  change(parts);
  h5::File file = h5::File::create();
  file.set_attribute("/", "format", parts.format);
  file.set_attribute("/", "format_version", parts.version);
  file.set_attribute("/", "kind", parts.kind);
  file.set_attribute("/", "classes", parts.classes);
  file.set_attribute("/", "mean", parts.mean);
  file.set_attribute("/", "std", parts.std);
  file.set_attribute("/", "source", std::string("test"));
  file.set_attribute("/", "digest", std::string(64, '0'));
  file.write_strings("class_names", parts.class_names);
  const auto write_split = [&](const std::string& group, const Shape& shape, const std::vector<std::int64_t>& labels) {
    const h5::Info info{h5::Type::uint8, shape};
    file.write<std::int64_t>(group + "/labels", Shape{static_cast<std::int64_t>(labels.size())}, labels);
    const auto count = static_cast<std::size_t>(info.elements());
    if (parts.float_images) {
      file.write<float>(group + "/images", shape, std::vector<float>(count));
    } else {
      file.write<std::uint8_t>(group + "/images", shape, std::vector<std::uint8_t>(count, 9));
    }
  };
  write_split("train", parts.train_shape, parts.train_labels);
  write_split("test", parts.test_shape, parts.test_labels);
  const auto path = (folder / "a.h5").string();
  write_durably(path, file.image());
  return path;
}

TEST(DatasetErrors, EveryPartIsChecked) {
  const test::TemporaryFolder folder;
  const auto expect = [&](const std::function<void(Parts&)>& change, const std::string& sentence) {
    const std::string path = write_parts(folder, change);
    EXPECT_ERROR(Dataset::open(path, Verify::never), ExitCode::bad_input, path + ": " + sentence);
  };
  EXPECT_NO_THROW(Dataset::open(write_parts(folder, [](Parts&) {}), Verify::never));
  expect([](Parts& p) { p.format = "x"; }, "attribute 'format': expected \"spankey data set\": not a data set of ours");
  expect([](Parts& p) { p.version = 2; }, "attribute 'format_version': expected 1, found 2");
  expect([](Parts& p) { p.kind = "sound"; }, "attribute 'kind': expected images or features, found 'sound'");
  expect([](Parts& p) { p.kind = "features"; }, "data set 'train/features' is missing or damaged");
  expect([](Parts& p) { p.classes = 3; }, "attribute 'classes': expected the number of class names, 2, found 3");
  expect([](Parts& p) { p.mean = {0.1, 0.2}; }, "attribute 'mean': expected 1 finite numbers, one per channel");
  expect([](Parts& p) { p.mean = {std::nan("")}; }, "attribute 'mean': expected 1 finite numbers, one per channel");
  expect([](Parts& p) { p.std = {0.0}; }, "attribute 'std': expected values above 0");
  expect([](Parts& p) { p.train_shape = {3, 2, 2}; }, "data set 'train/images': expected 4 dimensions, none of them 0");
  expect(
      [](Parts& p) {
        p.test_shape = {2, 1, 2, 3};
      },
      "data set 'test/images': expected samples of shape (1, 2, 2) as in train, found (2, 1, 2, 3)");
  expect([](Parts& p) { p.test_shape = {0, 1, 2, 2}; }, "data set 'test/images': expected at least one sample");
  expect([](Parts& p) { p.test_labels = {1}; }, "data set 'test/labels': expected 2 labels, one per sample, found 1");
  expect([](Parts& p) { p.float_images = true; }, "data set 'train/images': expected uint8, found float32");
}

TEST(DatasetErrors, AWrongLabelIsFoundAtItsOffset) {
  const test::TemporaryFolder folder;
  const std::string path = write_parts(folder, [](Parts& p) { p.train_labels = {0, 1, 7}; });
  const auto offset = *h5::File::open(path).offset("train/labels") + 16;
  EXPECT_ERROR(
      Dataset::open(path, Verify::never), ExitCode::bad_input,
      fmt::format("{}: offset {}: expected a label from 0 to 1 (sample 2 of 'train/labels'), found 7", path, offset));
}

TEST(DatasetErrors, AFlippedByteIsSeenByTheDigest) {
  const test::TemporaryFolder folder;
  const auto path = (folder / "a.h5").string();
  const auto made = test::make_image_data(7, 5, {2, 3, 5});
  made->save(path);
  auto bytes = read_bytes(path);
  const auto offset = static_cast<std::size_t>(*h5::File::open(path).offset("test/images"));
  bytes[offset + 11] ^= std::byte{1};
  write_durably(path, bytes);
  const auto sentence = AllOf(StartsWith(fmt::format("{}: offset 0 to {}: expected content with the SHA-256 {}, found ",
                                                     path, bytes.size(), made->info().digest)),
                              HasSubstr("damaged or changed"));
  EXPECT_ERROR(Dataset::open(path, Verify::always), ExitCode::bad_input, sentence);
  EXPECT_ERROR(Dataset::open(path, Verify::auto_), ExitCode::bad_input, sentence);
  EXPECT_EQ(Dataset::open(path, Verify::never)->test().images[11], made->test().images[11] ^ 1);
}

TEST(DatasetErrors, MissingEmptyGarbledAndTruncatedFiles) {
  const test::TemporaryFolder folder;
  const auto path = (folder / "a.h5").string();
  EXPECT_ERROR(Dataset::open(path, Verify::auto_), ExitCode::bad_input,
               "cannot read " + path + ": No such file or directory");
  for (const std::string_view text : {"", "not a data set"}) {
    write_durably(path, text);
    EXPECT_ERROR(Dataset::open(path, Verify::auto_), ExitCode::bad_input,
                 StartsWith(path + ": offset 0: expected the HDF5 signature"));
  }
  test::make_image_data(7, 5, {2, 3, 5})->save(path);
  const auto bytes = read_bytes(path);
  write_durably(path, std::span(bytes).first(bytes.size() - 50));
  EXPECT_ERROR(Dataset::open(path, Verify::auto_), ExitCode::bad_input,
               fmt::format("{}: offset {}: expected {} bytes of HDF5 (superblock), the file ends here: truncated", path,
                           bytes.size() - 50, bytes.size()));
}

// Damage anywhere in the file ends in an error that names it; the few bytes nobody reads may change unseen.
TEST(DatasetErrors, FlippedBytesAreNeverOtherSamples) {
  const test::TemporaryFolder folder;
  const auto path = (folder / "a.h5").string();
  const auto made = test::make_image_data(7, 5, {2, 3, 5});
  made->save(path);
  const auto intact = read_bytes(path);
  int errors = 0;
  for (std::size_t at = 0; at < intact.size(); at += 23) {
    auto bytes = intact;
    bytes[at] ^= std::byte{0x41};
    write_durably(path, bytes);
    try {
      const auto opened = Dataset::open(path, Verify::always);
      EXPECT_EQ(opened->info().digest, made->info().digest) << at;
      EXPECT_EQ(opened->train().labels, made->train().labels) << at;
    } catch (const Error& error) {
      ++errors;
      EXPECT_EQ(error.code(), ExitCode::bad_input) << at << error.what();
      EXPECT_THAT(error.what(), HasSubstr(path));
    }
  }
  EXPECT_GT(errors, 10);
}

// Byte `value` at the first of the training samples, in place.
void change_first_sample(const std::filesystem::path& path, std::int64_t offset, char value) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(offset);
  file.put(value);
}

class DatasetInUse : public testing::Test {
 protected:
  void SetUp() override {
    test::make_image_data(7, 5, {1, 3, 5})->save(path_);
    offset_ = *h5::File::open(path_).offset("train/images");
    // Older than what follows by more than a tick of the file system's clock.
    std::filesystem::last_write_time(path_, std::filesystem::last_write_time(path_) - std::chrono::seconds(10));
  }
  test::TemporaryFolder folder_;
  std::filesystem::path path_ = folder_ / "a.h5";
  std::int64_t offset_ = 0;
};

TEST_F(DatasetInUse, ContentThatChangesEndsTheRun) {
  for (const Verify verify : {Verify::auto_, Verify::never}) {
    const auto data = Dataset::open(path_, verify);
    data->require_unchanged();
    change_first_sample(path_, offset_, static_cast<char>(data->train().images[0] ^ 1));
    EXPECT_ERROR(data->require_unchanged(), ExitCode::run_failed,
                 AllOf(StartsWith(path_.string() + ": the data were changed while they were in use"),
                       HasSubstr("start again, to go on from the last checkpoint")));
    SetUp();
  }
}

TEST_F(DatasetInUse, TouchedOrReplacedItIsToldOnce) {
  const auto data = Dataset::open(path_, Verify::auto_);
  testing::internal::CaptureStderr();
  change_first_sample(path_, offset_, static_cast<char>(data->train().images[0]));  // the same byte again
  data->require_unchanged();
  data->require_unchanged();
  EXPECT_EQ(testing::internal::GetCapturedStderr(),
            fmt::format("warning: {}: written to while in use; its content is still that of the SHA-256 {}\n",
                        path_.string(), data->info().digest));
  const auto first = data->train().images[0];
  test::make_image_data(9, 5, {1, 3, 5})->save(path_);  // takes the name, by rename
  testing::internal::CaptureStderr();
  data->require_unchanged();
  data->require_unchanged();
  EXPECT_THAT(testing::internal::GetCapturedStderr(),
              testing::MatchesRegex("warning: .*/a.h5: another file has taken this name, or [^\n]*\n"));
  EXPECT_EQ(data->train().images[0], first);
  Dataset::open("builtin:argmax", Verify::auto_)->require_unchanged();
}

TEST(DatasetErrors, FeaturesThatAreNotFiniteAreRefused) {
  const test::TemporaryFolder folder;
  for (const float value : {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::infinity()}) {
    auto content = test::make_feature_content(7, 3, 5);
    content.train.features[5 * 4 + 2] = value;
    Dataset::in_memory(std::move(content))->save(folder / "a.h5");
    const auto offset = *h5::File::open(folder / "a.h5").offset("train/features") + (5 * 4 + 2) * 4;
    EXPECT_ERROR(Dataset::open(folder / "a.h5", Verify::auto_), ExitCode::bad_input,
                 fmt::format("{}: offset {}: expected finite features, found {} (sample 4 of 'train/features')",
                             (folder / "a.h5").string(), offset, value));
    // Unverified it is found by the samples of a step.
    const auto data = Dataset::open(folder / "a.h5", Verify::never);
    EXPECT_EQ(data->first_not_finite(data->train(), std::array<std::int64_t, 4>{6, 0, 4, 1}), 4);
    EXPECT_EQ(data->first_not_finite(data->train(), std::array<std::int64_t, 3>{6, 0, 1}), std::nullopt);
  }
}

}  // namespace
}  // namespace spankey::dataset_test
