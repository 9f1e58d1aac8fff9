#include "base/mapped_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>

#include "base/file.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace spankey::mapped_file_test {
namespace {

using testing::HasSubstr;
using State = MappedFile::State;

void write_in_place(const std::filesystem::path& path, std::string_view text) {
  const int fd = ::open(path.c_str(), O_WRONLY);
  ASSERT_GE(fd, 0);
  ASSERT_EQ(::pwrite(fd, text.data(), text.size(), 0), static_cast<ssize_t>(text.size()));
  ::close(fd);
}

TEST(MappedFile, ShowsTheBytesAndMoves) {
  const test::TemporaryFolder folder;
  write_durably(folder / "file", std::string_view("bytes"));
  write_durably(folder / "empty", std::string_view(""));
  MappedFile first(folder / "file");
  ASSERT_EQ(first.bytes().size(), 5u);
  MappedFile second(std::move(first));
  EXPECT_EQ(std::to_integer<char>(second.bytes()[1]), 'y');
  first = std::move(second);
  EXPECT_EQ(std::to_integer<char>(first.bytes()[4]), 's');
  EXPECT_TRUE(MappedFile(folder / "empty").bytes().empty());
}

TEST(MappedFile, RefusesWhatIsNoFile) {
  const test::TemporaryFolder folder;
  const auto missing = (folder / "none").string(), fifo = (folder / "fifo").string();
  EXPECT_ERROR(MappedFile{missing}, ExitCode::bad_input, "cannot read " + missing + ": No such file or directory");
  EXPECT_ERROR(MappedFile{folder.path()}, ExitCode::bad_input, HasSubstr("not a regular file"));
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  EXPECT_ERROR(MappedFile{fifo}, ExitCode::bad_input, HasSubstr("not a regular file"));  // and does not wait
}

TEST(MappedFile, SeesWhenItsFileIsWrittenToOrReplaced) {
  const test::TemporaryFolder folder;
  const auto path = folder / "file", other = folder / "other";
  write_durably(path, std::string_view("bytes"));
  write_durably(other, std::string_view("other"));
  MappedFile file(path);
  EXPECT_EQ(file.state(), State::as_mapped);
  std::filesystem::last_write_time(path, std::filesystem::last_write_time(path) + std::chrono::seconds(1));
  EXPECT_EQ(file.state(), State::changed);
  file.accept();
  EXPECT_EQ(file.state(), State::as_mapped);
  std::filesystem::rename(other, path);
  EXPECT_EQ(file.state(), State::replaced);
  EXPECT_EQ(std::to_integer<char>(file.bytes()[0]), 'b');
  std::filesystem::remove(path);
  EXPECT_EQ(file.state(), State::replaced);
  EXPECT_EQ(MappedFile().state(), State::as_mapped);

  write_durably(path, std::string_view("again"));
  MappedFile again(path);
  std::filesystem::last_write_time(path, std::filesystem::last_write_time(path) - std::chrono::seconds(5));
  again.accept();
  write_in_place(path, "AGAIN");
  EXPECT_EQ(again.state(), State::changed);
}

TEST(MappedFileDeathTest, OfAFileCutShortNamesItAndEndsWithTheCodeOfARunThatFailed) {
  const test::TemporaryFolder folder;
  const auto path = folder / "cut";
  write_durably(path, std::string(20000, 'x'));
  const MappedFile file(path);
  const auto touch = [&] {
    std::filesystem::resize_file(path, 100);
    const volatile auto byte = std::to_integer<int>(file.bytes()[15000]);
    std::_Exit(byte == 0 ? 0 : 1);
  };
  EXPECT_EXIT(touch(), testing::ExitedWithCode(3), "error: .*/cut cannot be read any more: it was cut short");
}

// Another fault is none of the mapping's business: what would have happened without one happens.
TEST(MappedFileDeathTest, LeavesOtherFaultsAlone) {
  const test::TemporaryFolder folder;
  write_durably(folder / "file", std::string_view("bytes"));
  const MappedFile file(folder / "file");
  EXPECT_EXIT(::raise(SIGBUS), testing::KilledBySignal(SIGBUS), "^$");
}

}  // namespace
}  // namespace spankey::mapped_file_test
