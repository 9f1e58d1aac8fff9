#include "data/import.h"

#include <zlib.h>

#include <cstdlib>
#include <fstream>

#include "base/file.h"
#include "data/dataset.h"
#include "data/picture.h"
#include "data/pictures.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace spankey::import_test {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

using Bytes = std::vector<std::uint8_t>;

void write_file(const std::filesystem::path& path, const Bytes& bytes) {
  std::filesystem::create_directories(path.parent_path());
  write_durably(path, std::as_bytes(std::span(bytes)));
}

void write_gz(const std::filesystem::path& path, const Bytes& bytes) {
  const gzFile file = gzopen(path.c_str(), "wb");
  ASSERT_EQ(gzwrite(file, bytes.data(), static_cast<unsigned>(bytes.size())), static_cast<int>(bytes.size()));
  gzclose(file);
}

Bytes idx(const std::vector<std::uint32_t>& shape, const Bytes& values) {
  Bytes bytes = {0, 0, 8, static_cast<std::uint8_t>(shape.size())};
  for (const std::uint32_t extent : shape) {
    for (int shift = 24; shift >= 0; shift -= 8) bytes.push_back(static_cast<std::uint8_t>(extent >> shift));
  }
  bytes.insert(bytes.end(), values.begin(), values.end());
  return bytes;
}

Bytes counting(std::size_t count, int start = 0) {
  Bytes bytes(count);
  for (std::size_t i = 0; i < count; ++i) bytes[i] = static_cast<std::uint8_t>(static_cast<int>(i) * 5 + start);
  return bytes;
}

class Mnist : public testing::Test {
 protected:
  void SetUp() override {
    write_file(folder_ / "train-images-idx3-ubyte", idx({3, 2, 4}, counting(24)));
    write_file(folder_ / "train-labels-idx1-ubyte", idx({3}, {9, 0, 3}));
    write_file(folder_ / "t10k-images-idx3-ubyte", idx({2, 2, 4}, counting(16, 7)));
    write_file(folder_ / "t10k-labels-idx1-ubyte", idx({2}, {1, 2}));
  }
  std::string name(const std::string& file) const { return (folder_ / file).string(); }
  void expect(const testing::Matcher<std::string>& sentence) {
    EXPECT_ERROR(import_mnist(folder_.path(), folder_ / "out.h5"), ExitCode::bad_input, sentence);
    EXPECT_FALSE(std::filesystem::exists(folder_ / "out.h5"));
  }
  test::TemporaryFolder folder_;
};

TEST_F(Mnist, RoundTripPlainAndCompressed) {
  import_mnist(folder_.path(), folder_ / "plain.h5");
  const auto plain = Dataset::open(folder_ / "plain.h5", Verify::always);
  EXPECT_EQ(plain->info().sample_shape, (std::vector<std::int64_t>{1, 2, 4}));
  EXPECT_EQ(Bytes(plain->train().images.begin(), plain->train().images.end()), counting(24));
  EXPECT_EQ(Bytes(plain->test().images.begin(), plain->test().images.end()), counting(16, 7));
  EXPECT_THAT(plain->train().labels, ElementsAre(9, 0, 3));
  EXPECT_THAT(plain->test().labels, ElementsAre(1, 2));
  EXPECT_EQ(plain->info().classes, 10);

  // One file compressed, one under its other name.
  std::filesystem::remove(folder_ / "train-images-idx3-ubyte");
  write_gz(folder_ / "train-images-idx3-ubyte.gz", idx({3, 2, 4}, counting(24)));
  std::filesystem::rename(folder_ / "t10k-labels-idx1-ubyte", folder_ / "t10k-labels.idx1-ubyte");
  import_mnist(folder_.path(), folder_ / "mixed.h5");
  EXPECT_EQ(Dataset::open(folder_ / "mixed.h5", Verify::always)->info().digest, plain->info().digest);
}

TEST_F(Mnist, WrongMagic) {
  auto bytes = idx({3, 2, 4}, counting(24));
  bytes[2] = 0x0d;  // float32
  write_file(folder_ / "train-images-idx3-ubyte", bytes);
  expect(name("train-images-idx3-ubyte") +
         ": offset 0: expected the IDX magic number 0x00000803 (unsigned bytes, 3 dimensions), found 0x00000d03");
}

TEST_F(Mnist, TruncatedAndTooLong) {
  write_file(folder_ / "t10k-images-idx3-ubyte", idx({2, 2, 4}, counting(15)));
  expect(name("t10k-images-idx3-ubyte") + ": offset 16: expected 16 bytes of values (2 x 2 x 4), found 15");
  write_file(folder_ / "t10k-images-idx3-ubyte", idx({2, 2, 4}, counting(17)));
  expect(name("t10k-images-idx3-ubyte") + ": offset 16: expected 16 bytes of values (2 x 2 x 4), found 17");
  write_file(folder_ / "t10k-images-idx3-ubyte", Bytes{0, 0, 8, 3, 0, 0});
  expect(name("t10k-images-idx3-ubyte") + ": offset 6: expected an IDX header of 16 bytes, the file ends here");
  write_file(folder_ / "t10k-images-idx3-ubyte", {});
  expect(name("t10k-images-idx3-ubyte") + ": offset 0: expected an IDX header of 16 bytes, the file ends here");
}

TEST_F(Mnist, SizesThatDoNotFit) {
  write_file(folder_ / "train-labels-idx1-ubyte", idx({2}, {9, 0}));
  expect(name("train-labels-idx1-ubyte") + ": offset 4: expected 3 labels, one per image of " +
         name("train-images-idx3-ubyte") + ", found 2");
  SetUp();
  write_file(folder_ / "t10k-images-idx3-ubyte", idx({2, 4, 2}, counting(16)));
  expect(name("t10k-images-idx3-ubyte") + ": offset 8: expected images of 2 x 4 as in the train files, found 4 x 2");
  write_file(folder_ / "t10k-images-idx3-ubyte", idx({2, 0, 4}, {}));
  expect(name("t10k-images-idx3-ubyte") + ": offset 8: expected a size above 0");
}

TEST_F(Mnist, LabelOutOfRange) {
  write_file(folder_ / "t10k-labels-idx1-ubyte", idx({2}, {1, 10}));
  expect(name("t10k-labels-idx1-ubyte") + ": offset 9: expected a label from 0 to 9, found 10");
}

TEST_F(Mnist, DamagedGzip) {
  std::filesystem::remove(folder_ / "train-images-idx3-ubyte");
  const auto path = folder_ / "train-images-idx3-ubyte.gz";
  write_gz(path, idx({3, 2, 4}, counting(24)));
  const auto intact = read_bytes(path);
  write_durably(path, std::span(intact).first(intact.size() - 6));
  expect(AllOf(StartsWith(path.string() + ": offset "), HasSubstr("expected intact gzip data")));
  auto flipped = intact;
  flipped[flipped.size() - 7] ^= std::byte{1};  // the checksum
  write_durably(path, flipped);
  expect(AllOf(StartsWith(path.string() + ": offset "), HasSubstr("expected intact gzip data")));
}

TEST_F(Mnist, MissingFile) {
  std::filesystem::remove(folder_ / "train-labels-idx1-ubyte");
  expect(folder_.path().string() + ": expected a file train-labels-idx1-ubyte or train-labels-idx1-ubyte.gz");
}

// The published figures of the real files: 60000 / 10000, first labels, class counts, and the normalisation everyone
// uses.
TEST(RealMnist, MeanAndDeviationAreTheKnownOnes) {
  const char* shared = std::getenv("SPANKEY_SHARED_DIR");
  const char* source = std::getenv("SPANKEY_SOURCE_DIR");
  const std::filesystem::path from =
      (shared != nullptr ? std::filesystem::path(shared)
                         : std::filesystem::path(source != nullptr ? source : ".") / "../shared") /
      "data/mnist";
  if (!std::filesystem::exists(from))
    GTEST_SKIP() << "no MNIST in " << from << " (SPANKEY_SHARED_DIR may name the folder)";
  const test::TemporaryFolder folder;
  import_mnist(from, folder / "mnist.h5");
  const auto data = Dataset::open(folder / "mnist.h5", Verify::always);
  EXPECT_EQ(data->train().size, 60000);
  EXPECT_EQ(data->test().size, 10000);
  EXPECT_NEAR(data->info().mean[0], 0.1307, 5e-5);
  EXPECT_NEAR(data->info().std[0], 0.3081, 5e-5);
  EXPECT_THAT(std::span(data->train().labels).first(4), ElementsAre(5, 0, 4, 1));
  EXPECT_THAT(std::span(data->test().labels).first(4), ElementsAre(7, 2, 1, 0));
  EXPECT_THAT(data->class_counts(data->train()),
              ElementsAre(5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949));
}

class Cifar10 : public testing::Test {
 protected:
  // Two records a file: label, then 3072 bytes.
  static Bytes batch(std::uint8_t label) {
    Bytes bytes;
    for (int record = 0; record < 2; ++record) {
      bytes.push_back(static_cast<std::uint8_t>(label + record));
      const Bytes pixels = counting(3072, label + record);
      bytes.insert(bytes.end(), pixels.begin(), pixels.end());
    }
    return bytes;
  }
  void SetUp() override {
    for (std::uint8_t i = 1; i <= 5; ++i) write_file(folder_ / fmt::format("data_batch_{}.bin", i), batch(i));
    write_file(folder_ / "test_batch.bin", batch(8));
  }
  void expect(const std::string& sentence) {
    EXPECT_ERROR(import_cifar10(folder_.path(), folder_ / "out.h5"), ExitCode::bad_input, sentence);
  }
  test::TemporaryFolder folder_;
};

TEST_F(Cifar10, RoundTrip) {
  import_cifar10(folder_.path(), folder_ / "out.h5");
  const auto data = Dataset::open(folder_ / "out.h5", Verify::always);
  EXPECT_EQ(data->info().sample_shape, (std::vector<std::int64_t>{3, 32, 32}));
  EXPECT_THAT(data->train().labels, ElementsAre(1, 2, 2, 3, 3, 4, 4, 5, 5, 6));
  EXPECT_THAT(data->test().labels, ElementsAre(8, 9));
  EXPECT_EQ(data->info().class_names[9], "truck");
  const auto second = data->test().images.subspan(3072);
  EXPECT_EQ(Bytes(second.begin(), second.end()), counting(3072, 9));
}

TEST_F(Cifar10, WrongSizeAndLabel) {
  Bytes bytes = batch(3);
  bytes.pop_back();
  write_file(folder_ / "data_batch_3.bin", bytes);
  expect((folder_ / "data_batch_3.bin").string() +
         ": offset 3073: expected a record of 3073 bytes (label, 3 x 32 x 32 pixels), found 3072 bytes");
  bytes = batch(3);
  bytes[3073] = 77;
  write_file(folder_ / "data_batch_3.bin", bytes);
  expect((folder_ / "data_batch_3.bin").string() + ": offset 3073: expected a label from 0 to 9, found 77");
  write_file(folder_ / "data_batch_3.bin", {});
  expect((folder_ / "data_batch_3.bin").string() +
         ": offset 0: expected a record of 3073 bytes (label, 3 x 32 x 32 pixels), found 0 bytes");
  std::filesystem::remove(folder_ / "data_batch_3.bin");
  expect("cannot read " + (folder_ / "data_batch_3.bin").string() + ": No such file or directory");
}

class Folder : public testing::Test {
 protected:
  static Picture flat(std::uint8_t value, std::int64_t width = 3) {
    return {1, 2, width, Bytes(static_cast<std::size_t>(2 * width), value)};
  }
  void write_picture(const std::string& path, const Picture& picture) {
    std::filesystem::create_directories((folder_ / path).parent_path());
    write_durably(folder_ / path, encode_png(picture));
  }
  void SetUp() override {
    write_picture("train/dog/b.png", flat(20));
    write_picture("train/dog/a.PNG", flat(10));
    write_picture("train/cat/z.png", flat(30));
    std::filesystem::create_directories(folder_ / "test/dog");
    write_durably(folder_ / "test/dog/x.jpeg", test::make_jpeg(Bytes(6, 40), 3, 2, 1));
    write_durably(folder_ / "train/dog/notes.txt", std::string_view("not a picture"));
  }
  void expect(const testing::Matcher<std::string>& sentence) {
    EXPECT_ERROR(import_folder(folder_.path(), folder_ / "out.h5"), ExitCode::bad_input, sentence);
  }
  std::string name(const std::string& file) const { return (folder_ / file).string(); }
  test::TemporaryFolder folder_;
};

TEST_F(Folder, ClassesAndSamplesInAlphabeticalOrder) {
  import_folder(folder_.path(), folder_ / "out.h5");
  const auto data = Dataset::open(folder_ / "out.h5", Verify::always);
  EXPECT_THAT(data->info().class_names, ElementsAre("cat", "dog"));
  EXPECT_EQ(data->info().sample_shape, (std::vector<std::int64_t>{1, 2, 3}));
  EXPECT_THAT(data->train().labels, ElementsAre(0, 1, 1));
  EXPECT_THAT(data->test().labels, ElementsAre(1));
  EXPECT_EQ(data->train().images[0], 30);
  EXPECT_EQ(data->train().images[6], 10);
  EXPECT_EQ(data->train().images[12], 20);
  EXPECT_NEAR(data->test().images[5], 40, 1);
}

// Each reason is told once, with a count; none of it reaches classes or samples.
TEST_F(Folder, WhatIsPassedOverIsCountedAndTold) {
  import_folder(folder_.path(), folder_ / "clean.h5");
  const auto digest = Dataset::open(folder_ / "clean.h5", Verify::always)->info().digest;
  write_picture("train/.ipynb_checkpoints/z.png", flat(1));
  write_picture("test/.cache/z.png", flat(1));
  write_picture("train/cat/inner/z.png", flat(1));
  for (const char* path : {"train/.DS_Store", "train/dog/._a.PNG", "train/cat/1.bmp", "train/cat/2.bmp",
                           "test/dog/3.gif", "train/README", "train/dog/LICENCE"})
    write_durably(folder_ / path, std::string_view("GIF89a"));
  std::filesystem::create_symlink("nowhere.png", folder_ / "train/cat/gone.png");
  testing::internal::CaptureStderr();
  import_folder(folder_.path(), folder_ / "out.h5");
  const std::string told = testing::internal::GetCapturedStderr();
  EXPECT_EQ(Dataset::open(folder_ / "out.h5", Verify::always)->info().digest, digest);
  for (const auto& [what, first] : {std::pair("names that start with a dot: 4", "train/.DS_Store"),
                                    std::pair("beside the folders of the classes: 1", "train/README"),
                                    std::pair("names other than .jpg, .jpeg or .png (.bmp): 2", "train/cat/1.bmp"),
                                    std::pair("names other than .jpg, .jpeg or .png (.gif): 1", "test/dog/3.gif"),
                                    std::pair("names other than .jpg, .jpeg or .png (.txt): 1", "train/dog/notes.txt"),
                                    std::pair("(without any): 1", "train/dog/LICENCE"),
                                    std::pair("folders inside of a class: 1", "train/cat/inner"),
                                    std::pair("links that lead nowhere: 1", "train/cat/gone.png")})
    EXPECT_THAT(told, HasSubstr(fmt::format("{}, the first {}\n", what, name(first)))) << told;
}

TEST_F(Folder, LinksToFoldersAndPicturesAreFollowed) {
  write_picture("elsewhere/x.png", flat(5));
  std::filesystem::create_directory_symlink("../elsewhere", folder_ / "train/bird");
  std::filesystem::create_symlink("../../elsewhere/x.png", folder_ / "train/cat/link.png");
  import_folder(folder_.path(), folder_ / "out.h5");
  const auto data = Dataset::open(folder_ / "out.h5", Verify::always);
  EXPECT_THAT(data->info().class_names, ElementsAre("bird", "cat", "dog"));
  EXPECT_THAT(data->train().labels, ElementsAre(0, 1, 1, 2, 2));
}

TEST_F(Folder, AClassWithoutPicturesToTrainOnIsRefused) {
  std::filesystem::create_directories(folder_ / "train/emu");
  expect(name("train/emu") + ": expected .jpg, .jpeg or .png files to train the class on, found none");
  write_durably(folder_ / "train/emu/a.bmp", std::string_view("BM"));
  write_durably(folder_ / "train/emu/b.bmp", std::string_view("BM"));
  expect(name("train/emu") +
         ": expected .jpg, .jpeg or .png files to train the class on, found none; passed over, names other than .jpg, "
         ".jpeg or .png (.bmp): 2, the first " +
         name("train/emu/a.bmp"));
  write_durably(folder_ / "train/emu/c.png", std::string_view());
  expect(name("train/emu/c.png") +
         ": offset 0: expected a JPEG (ff d8 ff) or PNG (89 50 4e 47) signature, the file is empty");
}

TEST_F(Folder, RemarksOnPicturesAreTold) {
  const auto deep = test::make_png(3, 2, 16, 0, {0, 1, 2, 3, 4, 5, 6, 0, 7, 8, 9, 10, 11, 12});
  write_durably(folder_ / "train/cat/a.png", deep);
  write_durably(folder_ / "train/cat/b.png", deep);
  testing::internal::CaptureStderr();
  import_folder(folder_.path(), folder_ / "out.h5");
  EXPECT_THAT(testing::internal::GetCapturedStderr(),
              HasSubstr("16 bits a sample, of which the high byte is taken: 2, the first " + name("train/cat/a.png")));
}

TEST_F(Folder, PicturesThatDoNotFit) {
  write_picture("train/dog/c.png", flat(1, 4));
  expect(name("train/dog/c.png") + ": offset 0: expected a picture of 3 x 2 pixels and 1 channels as " +
         name("train/cat/z.png") + ", found 4 x 2 and 1");
  write_picture("train/dog/c.png", Picture{3, 2, 3, Bytes(18, 1)});
  expect(HasSubstr("found 3 x 2 and 3"));
  write_durably(folder_ / "train/dog/c.png", std::string_view("garbage"));
  expect(name("train/dog/c.png") + ": offset 0: expected a JPEG (ff d8 ff) or PNG (89 50 4e 47) signature");
}

TEST_F(Folder, FoldersThatDoNotFit) {
  std::filesystem::create_directories(folder_ / "test/mouse");
  expect(name("test/mouse") + ": expected only classes that train/ has: cat, dog");
  std::filesystem::remove_all(folder_ / "test");
  expect("cannot read folder " + name("test") + ": No such file or directory");
  std::filesystem::create_directories(folder_ / "test/dog");
  expect(name("test") + ": expected .jpg, .jpeg or .png files in the class folders");
}

}  // namespace
}  // namespace spankey::import_test
