// A program that was built without the libraries of pictures (src/data/no_jpeg.cpp and no_png.cpp).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "data/import.h"
#include "data/picture.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace spankey::no_pictures_test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

constexpr std::string_view png = "\x89PNG\r\n\x1a\n", jpeg = "\xff\xd8\xff";

// An import of a folder with one picture, which begins like this.
void import_one(const std::string& name, std::string_view begin) {
  const test::TemporaryFolder folder;
  std::filesystem::create_directories(folder / "train/a");
  std::filesystem::create_directories(folder / "test/a");
  std::ofstream(folder / ("train/a/" + name)) << begin;
  import_folder(folder.path(), folder / "out.h5");
}

TEST(NoPictures, AnImageFolderEndsWithOneLineThatSaysWhatIsMissing) {
  EXPECT_ERROR(
      import_one("x.png", png), ExitCode::bad_input,
      AllOf(HasSubstr("x.png: a PNG"), HasSubstr("without libpng"), HasSubstr("libpng-dev"), Not(HasSubstr("\n"))));
  EXPECT_ERROR(
      import_one("x.jpg", jpeg), ExitCode::bad_input,
      AllOf(HasSubstr("x.jpg: a JPEG"), HasSubstr("without libjpeg"), HasSubstr("libjpeg-dev"), Not(HasSubstr("\n"))));
  // The control: what is no picture is told as ever.
  EXPECT_ERROR(import_one("x.png", "text"), ExitCode::bad_input, HasSubstr("expected a JPEG"));
}

TEST(NoPictures, NoPngIsWritten) {
  EXPECT_ERROR(encode_png({1, 1, 1, {0}}), ExitCode::bad_input, HasSubstr("without libpng"));
}

}  // namespace
}  // namespace spankey::no_pictures_test
