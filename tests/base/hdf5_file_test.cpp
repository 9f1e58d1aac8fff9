#include "base/hdf5_file.h"

#include <fstream>
#include <limits>
#include <thread>

#include "base/file.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace spankey {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

using Shape = std::vector<std::int64_t>;

template <class T>
void write(h5::File& file, const std::string& name, const Shape& shape, const std::vector<T>& values) {
  file.write<T>(name, shape, values);
}

h5::File sample_file() {
  h5::File file = h5::File::create();
  write<std::uint8_t>(file, "train/images", {2, 3}, {1, 2, 3, 4, 5, 255});
  write<std::int32_t>(file, "train/small", {2}, {-7, std::numeric_limits<std::int32_t>::max()});
  write<std::int64_t>(file, "train/labels", {2}, {-1, std::numeric_limits<std::int64_t>::max()});
  write<float>(file, "weights", {1, 1, 2}, {0.1f, -std::numeric_limits<float>::infinity()});
  write<double>(file, "scalar", {}, {0.1});
  write<float>(file, "empty", {0, 4}, {});
  file.write_strings("names", {"zero", "", "Größe"});
  file.create_group("test");
  file.set_attribute("/", "kind", std::string("sample"));
  file.set_attribute("/", "nothing", std::string());
  file.set_attribute("/", "count", std::int64_t{-5});
  file.set_attribute("/", "mean", 0.1307);
  file.set_attribute("train", "means", std::vector<double>{0.1, 0.2});
  file.set_attribute("train/images", "sizes", std::vector<std::int64_t>{3, 4, 5});
  return file;
}

void expect_sample(const h5::File& file) {
  EXPECT_EQ(file.read<std::uint8_t>("train/images"), (std::vector<std::uint8_t>{1, 2, 3, 4, 5, 255}));
  EXPECT_EQ(file.read<std::int32_t>("train/small")[1], std::numeric_limits<std::int32_t>::max());
  EXPECT_EQ(file.read<std::int64_t>("train/labels")[1], std::numeric_limits<std::int64_t>::max());
  EXPECT_EQ(file.read<float>("weights"), (std::vector<float>{0.1f, -std::numeric_limits<float>::infinity()}));
  EXPECT_EQ(file.read<double>("scalar"), std::vector<double>{0.1});
  EXPECT_TRUE(file.read<float>("empty").empty());
  EXPECT_THAT(file.read_strings("names"), ElementsAre("zero", "", "Größe"));
  EXPECT_EQ(file.string_attribute("/", "kind"), "sample");
  EXPECT_EQ(file.string_attribute("/", "nothing"), "");
  EXPECT_EQ(file.int_attribute("/", "count"), -5);
  EXPECT_EQ(file.double_attribute("/", "mean"), 0.1307);
  EXPECT_EQ(file.double_attribute("/", "count"), -5.0);
  EXPECT_EQ(file.doubles_attribute("train", "means"), (std::vector<double>{0.1, 0.2}));
  EXPECT_EQ(file.doubles_attribute("/", "mean"), std::vector<double>{0.1307});
  EXPECT_EQ(file.ints_attribute("train/images", "sizes"), (Shape{3, 4, 5}));
}

TEST(Hdf5File, RoundTripThroughMemoryAndDisk) {
  h5::File file = sample_file();
  expect_sample(file);
  const auto image = file.image();
  expect_sample(h5::File::from_image(image, "memory"));
  const test::TemporaryFolder folder;
  write_durably(folder / "a.h5", image);
  expect_sample(h5::File::open(folder / "a.h5"));
}

TEST(Hdf5File, ListsItsContent) {
  const h5::File file = sample_file();
  EXPECT_THAT(file.groups(), ElementsAre("test", "train"));
  EXPECT_THAT(file.datasets(), ElementsAre("empty", "names", "scalar", "weights"));
  EXPECT_THAT(file.datasets("train"), ElementsAre("images", "labels", "small"));
  EXPECT_TRUE(file.exists("train/images"));
  EXPECT_TRUE(file.exists("/"));
  EXPECT_FALSE(file.exists("train/none"));
  EXPECT_FALSE(file.exists("none/images"));
  EXPECT_THAT(file.attribute_names("/"), ElementsAre("count", "kind", "mean", "nothing"));
  EXPECT_TRUE(file.has_attribute("train", "means"));
  EXPECT_FALSE(file.has_attribute("train", "mean"));
  const h5::Info info = file.info("weights");
  EXPECT_EQ(info.type, h5::Type::float32);
  EXPECT_EQ(info.shape, (Shape{1, 1, 2}));
  EXPECT_TRUE(file.info("scalar").shape.empty());
}

TEST(Hdf5File, OffsetPointsAtTheValues) {
  h5::File file = sample_file();
  const auto image = file.image();
  const h5::File again = h5::File::from_image(image, "memory");
  const auto offset = again.offset("train/images");
  ASSERT_TRUE(offset.has_value());
  EXPECT_EQ(std::to_integer<int>(image[static_cast<std::size_t>(*offset) + 3]), 4);
  EXPECT_EQ(std::to_integer<int>(image[static_cast<std::size_t>(*offset) + 5]), 255);
}

TEST(Hdf5File, BytesAfterTheImageAreIgnored) {
  auto image = sample_file().image();
  const std::string footer = "a footer of ours";
  const auto bytes = std::as_bytes(std::span(footer));
  image.insert(image.end(), bytes.begin(), bytes.end());
  expect_sample(h5::File::from_image(image, "with footer"));
  const test::TemporaryFolder folder;
  write_durably(folder / "a.h5", image);
  expect_sample(h5::File::open(folder / "a.h5"));
}

TEST(Hdf5File, EqualContentGivesEqualBytes) {
  EXPECT_EQ(sample_file().image(), sample_file().image());
}

TEST(Hdf5File, FilesInMemoryDoNotShareContent) {
  h5::File a = h5::File::create(), b = h5::File::create();
  write<float>(a, "x", {1}, {1});
  write<float>(b, "x", {1}, {2});
  const auto image_a = a.image(), image_b = b.image();
  const h5::File c = h5::File::from_image(image_a, "one name"), d = h5::File::from_image(image_b, "one name");
  EXPECT_EQ(c.read<float>("x")[0], 1);
  EXPECT_EQ(d.read<float>("x")[0], 2);
}

TEST(Hdf5File, AttributesAreReplacedAndRawBytesRoundTrip) {
  h5::File file = h5::File::create();
  file.set_attribute("/", "a", 1.0);
  file.set_attribute("/", "a", std::string("text"));
  EXPECT_EQ(file.string_attribute("/", "a"), "text");
  const std::vector<float> values = {1, 2, 3};
  file.write_raw("raw", h5::Type::float32, Shape{3}, std::as_bytes(std::span(values)));
  std::vector<float> back(3);
  file.read_raw("raw", std::as_writable_bytes(std::span(back)));
  EXPECT_EQ(back, values);
  EXPECT_ERROR(file.read_raw("raw", std::as_writable_bytes(std::span(back)).first(8)), ExitCode::run_failed,
               HasSubstr("8 against 12"));
  EXPECT_ERROR(write<float>(file, "short", {4}, values), ExitCode::run_failed, HasSubstr("12 against 16"));
  EXPECT_ERROR(file.set_attribute("/", "long", std::string(70'000, 'x')), ExitCode::run_failed, HasSubstr("64 kB"));
}

TEST(Hdf5File, ConvertsOnlyWithoutLoss) {
  const h5::File file = sample_file();
  EXPECT_EQ(file.read<double>("train/images")[5], 255.0);
  EXPECT_EQ(file.read<std::int64_t>("train/small")[0], -7);
  EXPECT_EQ(file.read<double>("weights")[0], static_cast<double>(0.1f));
  EXPECT_ERROR(file.read<float>("scalar"), ExitCode::bad_input,
               "(memory): data set 'scalar': expected float32, found float64");
  EXPECT_ERROR(file.read<double>("train/labels"), ExitCode::bad_input, HasSubstr("expected float64, found int64"));
  EXPECT_ERROR(file.read<std::uint8_t>("names"), ExitCode::bad_input, HasSubstr("expected elements of type"));
  EXPECT_ERROR(file.read_strings("weights"), ExitCode::bad_input, HasSubstr("strings of fixed length"));
  EXPECT_ERROR(file.int_attribute("/", "mean"), ExitCode::bad_input, HasSubstr("expected an integer"));
  EXPECT_ERROR(file.double_attribute("train", "means"), ExitCode::bad_input, HasSubstr("expected one value, found 2"));
  EXPECT_ERROR(file.string_attribute("/", "mean"), ExitCode::bad_input, HasSubstr("expected one string"));
}

TEST(Hdf5File, MissingObjectsAreNamed) {
  const h5::File file = sample_file();
  EXPECT_ERROR(file.read<float>("train/none"), ExitCode::bad_input,
               "(memory): data set 'train/none' is missing or damaged");
  EXPECT_ERROR(file.datasets("none"), ExitCode::bad_input, HasSubstr("group 'none'"));
  EXPECT_ERROR(file.int_attribute("/", "none"), ExitCode::bad_input, HasSubstr("attribute 'none' of '/' is missing"));
  EXPECT_ERROR(file.int_attribute("none", "x"), ExitCode::bad_input, HasSubstr("object 'none'"));
}

TEST(Hdf5File, MissingGarbledAndTruncatedFilesSayWhere) {
  const test::TemporaryFolder folder;
  const auto path = (folder / "a.h5").string();
  EXPECT_ERROR(h5::File::open(path), ExitCode::bad_input, "cannot open " + path + ": No such file or directory");
  write_durably(path, std::string_view("this is not HDF5 at all"));
  EXPECT_ERROR(h5::File::open(path), ExitCode::bad_input,
               AllOf(StartsWith(path + ": offset 0: expected the HDF5 signature"), HasSubstr("not an HDF5 file")));
  write_durably(path, std::string_view(""));
  EXPECT_ERROR(h5::File::open(path), ExitCode::bad_input, StartsWith(path + ": offset 0: expected the HDF5 signature"));
  const auto image = sample_file().image();
  write_durably(path, std::span(image).first(20));
  EXPECT_ERROR(h5::File::open(path), ExitCode::bad_input, HasSubstr("offset 20: expected an HDF5 superblock"));
  write_durably(path, std::span(image).first(image.size() - 100));
  EXPECT_ERROR(h5::File::open(path), ExitCode::bad_input,
               path + fmt::format(": offset {}: expected {} bytes of HDF5 (superblock), the file ends here: truncated",
                                  image.size() - 100, image.size()));
  EXPECT_ERROR(h5::File::from_image(std::span(image).first(100), "part"), ExitCode::bad_input,
               StartsWith("part: offset 100"));
  auto damaged = image;
  for (std::size_t i = 48; i < 96; ++i) damaged[i] = std::byte{0xee};  // the root group's entry
  write_durably(path, damaged);
  EXPECT_ERROR(h5::File::open(path).datasets(), ExitCode::bad_input, StartsWith(path));
}

// Flipped bits of the structure end in an error or in other values, never in a crash or an endless allocation.
TEST(Hdf5File, FlippedBytesNeverCrash) {
  const auto image = sample_file().image();
  int errors = 0, tries = 0;
  for (std::size_t at = 0; at < image.size(); at += 37) {
    auto damaged = image;
    damaged[at] ^= std::byte{0xff};
    ++tries;
    try {
      const h5::File file = h5::File::from_image(damaged, "damaged");
      for (const auto& name : file.datasets("train")) file.read<std::int64_t>("train/" + name);
      file.read_strings("names");
    } catch (const Error& error) {
      ++errors;
      EXPECT_THAT(error.what(), StartsWith("damaged: "));
    }
  }
  EXPECT_GT(errors, 0);
  EXPECT_GT(tries, 50);
}

TEST(Hdf5File, ThreadsMayWorkOnDifferentFiles) {
  std::vector<std::thread> threads;
  std::vector<std::vector<std::byte>> images(4);
  for (std::size_t t = 0; t < images.size(); ++t) {
    threads.emplace_back([&images, t] {
      for (int i = 0; i < 20; ++i) images[t] = sample_file().image();
    });
  }
  for (auto& thread : threads) thread.join();
  for (const auto& image : images) EXPECT_EQ(image, images[0]);
}

}  // namespace
}  // namespace spankey
