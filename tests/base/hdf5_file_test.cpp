#include "base/hdf5_file.h"

#include <hdf5.h>

#include <array>
#include <fstream>
#include <limits>
#include <thread>

#include "base/file.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace spankey::hdf5_file_test {
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
  write<std::uint8_t>(file, "test/images", {0, 3}, {});
  file.set_attribute("/", "kind", std::string("sample"));
  file.set_attribute("/", "nothing", std::string());
  file.set_attribute("/", "count", std::int64_t{-5});
  file.set_attribute("/", "mean", 0.1307);
  file.set_attribute("train", "means", std::vector<double>{0.1, 0.2});
  file.set_attribute("train/images", "sizes", std::vector<std::int64_t>{3, 4, 5});
  return file;
}

// As another program sees them.
TEST(Hdf5File, TextIsUtf8AndSaysSo) {
  const test::TemporaryFolder folder;
  h5::File file = sample_file();
  file.write_string("text", "Größe = 3\n");
  EXPECT_EQ(file.read_string("text"), "Größe = 3\n");
  EXPECT_THAT(file.read_strings("text"), ElementsAre("Größe = 3\n"));
  EXPECT_ERROR(file.read_string("names"), ExitCode::bad_input, HasSubstr("expected one string of fixed length"));
  write_durably(folder / "a.h5", file.image());
  const hid_t id = H5Fopen((folder / "a.h5").c_str(), H5F_ACC_RDONLY, H5P_DEFAULT);
  ASSERT_GE(id, 0);
  const auto expect_text = [](hid_t type) {
    EXPECT_EQ(H5Tget_class(type), H5T_STRING);
    EXPECT_EQ(H5Tget_cset(type), H5T_CSET_UTF8);
    EXPECT_EQ(H5Tis_variable_str(type), 0);
    H5Tclose(type);
  };
  const hid_t attribute = H5Aopen(id, "kind", H5P_DEFAULT), names = H5Dopen2(id, "names", H5P_DEFAULT),
              text = H5Dopen2(id, "text", H5P_DEFAULT);
  expect_text(H5Aget_type(attribute));
  expect_text(H5Dget_type(names));
  expect_text(H5Dget_type(text));
  H5Aclose(attribute);
  H5Dclose(names);
  H5Dclose(text);
  H5Fclose(id);
}

// What files of earlier versions have: an attribute of fixed length.
TEST(Hdf5File, ReadsTextOfFixedLength) {
  const test::TemporaryFolder folder;
  const std::string path = folder / "old.h5";
  const hid_t id = H5Fcreate(path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT), type = H5Tcopy(H5T_C_S1),
              space = H5Screate(H5S_SCALAR);
  H5Tset_size(type, 6);
  H5Tset_strpad(type, H5T_STR_NULLPAD);
  const hid_t attribute = H5Acreate2(id, "kind", type, space, H5P_DEFAULT, H5P_DEFAULT);
  EXPECT_GE(H5Awrite(attribute, type, "sample"), 0);
  H5Aclose(attribute);
  H5Sclose(space);
  H5Tclose(type);
  H5Fclose(id);
  EXPECT_EQ(h5::File::open(path).string_attribute("/", "kind"), "sample");
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

// What no writer of ours makes: values in chunks or in another file, and links to elsewhere.
void make_foreign_file(const std::filesystem::path& folder) {
  const std::array<float, 4> values{1, 2, 3, 4};
  std::ofstream(folder / "values.raw", std::ios::binary)
      .write(reinterpret_cast<const char*>(values.data()), sizeof values);
  h5::File other = h5::File::create();
  write<float>(other, "secret", {4}, {5, 6, 7, 8});
  write_durably(folder / "other.h5", other.image());

  const hsize_t extent = values.size();
  const hid_t file = H5Fcreate((folder / "foreign.h5").c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
  const hid_t space = H5Screate_simple(1, &extent, nullptr);
  const auto put = [&](const char* name, hid_t creation) {
    const hid_t dataset = H5Dcreate2(file, name, H5T_IEEE_F32LE, space, H5P_DEFAULT, creation, H5P_DEFAULT);
    EXPECT_GE(H5Dwrite(dataset, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()), 0) << name;
    H5Dclose(dataset);
  };
  put("plain", H5P_DEFAULT);
  const hid_t chunked = H5Pcreate(H5P_DATASET_CREATE), outside = H5Pcreate(H5P_DATASET_CREATE);
  H5Pset_chunk(chunked, 1, &extent);
  put("chunked", chunked);
  H5Pset_external(outside, (folder / "values.raw").c_str(), 0, sizeof values);
  put("outside", outside);
  H5Lcreate_soft("/plain", file, "soft", H5P_DEFAULT, H5P_DEFAULT);
  H5Lcreate_external((folder / "other.h5").c_str(), "/", file, "elsewhere", H5P_DEFAULT, H5P_DEFAULT);
  H5Pclose(chunked);
  H5Pclose(outside);
  H5Sclose(space);
  ASSERT_GE(H5Fclose(file), 0);
}

TEST(Hdf5File, ReadsOnlyWhatLiesInTheFileInOnePiece) {
  const test::TemporaryFolder folder;
  ASSERT_NO_FATAL_FAILURE(make_foreign_file(folder.path()));
  const h5::File file = h5::File::open(folder / "foreign.h5");
  EXPECT_THAT(file.read<float>("plain"), ElementsAre(1, 2, 3, 4));  // the control
  for (const auto* name : {"chunked", "outside"})
    EXPECT_ERROR(file.read<float>(name), ExitCode::bad_input, AllOf(HasSubstr(name), HasSubstr("contiguous")));
  for (const auto* name : {"soft", "elsewhere/secret"})
    EXPECT_ERROR(file.read<float>(name), ExitCode::bad_input, AllOf(HasSubstr(name), HasSubstr("missing or damaged")));
  EXPECT_ERROR(file.groups("elsewhere"), ExitCode::bad_input, HasSubstr("elsewhere"));
  EXPECT_THAT(file.datasets(), ElementsAre("chunked", "outside", "plain"));
  EXPECT_TRUE(file.groups().empty());
}

// The library converts an attribute as its type describes itself, whatever that says.
TEST(Hdf5File, AttributesAreNumbersOfAWholeNumberOfBytes) {
  const test::TemporaryFolder folder;
  const auto path = folder / "attributes.h5";
  const hid_t file = H5Fcreate(path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
  const hid_t space = H5Screate(H5S_SCALAR);
  const auto put = [&](const char* name, hid_t type) {
    const std::array<std::uint8_t, 16> bytes{5};
    const hid_t attribute = H5Acreate2(file, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
    EXPECT_GE(H5Awrite(attribute, type, bytes.data()), 0) << name;
    H5Aclose(attribute);
  };
  put("plain", H5T_STD_I16LE);
  const hid_t odd = H5Tcopy(H5T_STD_I32LE), narrow = H5Tcopy(H5T_STD_I32LE), wide = H5Tcopy(H5T_STD_I64LE);
  H5Tset_size(odd, 3);
  H5Tset_precision(narrow, 20);
  H5Tset_size(wide, 16);
  put("odd", odd);
  put("narrow", narrow);
  put("wide", wide);
  for (const hid_t type : {odd, narrow, wide}) H5Tclose(type);
  H5Sclose(space);
  ASSERT_GE(H5Fclose(file), 0);
  const h5::File opened = h5::File::open(path);
  EXPECT_EQ(opened.int_attribute("/", "plain"), 5);  // the control
  for (const auto* name : {"odd", "narrow", "wide"})
    EXPECT_ERROR(opened.int_attribute("/", name), ExitCode::bad_input,
                 AllOf(HasSubstr(name), HasSubstr("1 to 8 bytes")));
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
}  // namespace spankey::hdf5_file_test
