#include "base/file.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <fstream>
#include <optional>
#include <thread>
#include <utility>

#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace spankey::file_test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

std::size_t entries(const std::filesystem::path& folder) {
  return static_cast<std::size_t>(
      std::distance(std::filesystem::directory_iterator(folder), std::filesystem::directory_iterator()));
}

TEST(WriteDurably, RoundTripModeAndNoTemporary) {
  const test::TemporaryFolder folder;
  const auto path = folder / "file";
  write_durably(path, std::string_view("old"));
  write_durably(path, std::string_view("n\0w", 3), 0600);
  EXPECT_EQ(read_text(path), std::string("n\0w", 3));
  EXPECT_EQ(read_bytes(path).size(), 3u);
  struct stat status {};
  ASSERT_EQ(stat(path.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777u, 0600u);
  EXPECT_EQ(entries(folder.path()), 1u);
}

TEST(WriteDurably, LeftOverTemporaryOfACrashIsReplaced) {
  const test::TemporaryFolder folder;
  std::ofstream(folder / "secret.tmp") << "half";
  write_durably(folder / "secret", std::string_view("whole"), 0600);
  struct stat status {};
  ASSERT_EQ(stat((folder / "secret").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777u, 0600u);
  EXPECT_EQ(entries(folder.path()), 1u);
}

// A file size limit stands for the full disk: write() fails half way in both.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) {
    getrlimit(RLIMIT_FSIZE, &saved_);
    handler_ = std::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{bytes, saved_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() {
    setrlimit(RLIMIT_FSIZE, &saved_);
    std::signal(SIGXFSZ, handler_);
  }

 private:
  rlimit saved_{};
  void (*handler_)(int) = nullptr;
};

TEST(WriteDurably, FailedWriteKeepsTheOldFileAndLeavesNoLitter) {
  const test::TemporaryFolder folder;
  const auto path = folder / "file";
  write_durably(path, std::string_view("old"));
  {
    const FileSizeLimit limit(10'000);
    const std::string large(20'000, 'x');
    EXPECT_ERROR(write_durably(path, large), ExitCode::run_failed,
                 AllOf(StartsWith("cannot write " + path.string()), HasSubstr("File too large")));
  }
  EXPECT_EQ(read_text(path), "old");
  EXPECT_EQ(entries(folder.path()), 1u);
}

TEST(WriteDurably, MissingFolder) {
  const test::TemporaryFolder folder;
  EXPECT_ERROR(write_durably(folder / "none/file", std::string_view("x")), ExitCode::bad_input,
               HasSubstr("No such file or directory"));
}

// The negative control: what rename alone makes of a link.
TEST(WriteDurably, ALinkStaysAndWhatItNamesIsWritten) {
  const test::TemporaryFolder folder;
  std::filesystem::create_directory(folder / "disk");
  write_durably(folder / "disk/file", std::string_view("old"));
  std::filesystem::create_symlink("disk/file", folder / "relative");
  std::filesystem::create_symlink(folder / "relative", folder / "chain");
  std::filesystem::create_symlink("disk/new", folder / "dangling");
  for (const auto& [link, target] : {std::pair{"relative", "file"}, {"chain", "file"}, {"dangling", "new"}}) {
    write_durably(folder / link, std::string_view(link));
    EXPECT_TRUE(std::filesystem::is_symlink(folder / link)) << link;
    EXPECT_EQ(read_text(folder / "disk" / target), link);
  }
  EXPECT_EQ(entries(folder / "disk"), 2u);

  std::ofstream(folder / "other") << "x";
  std::filesystem::rename(folder / "other", folder / "chain");
  EXPECT_FALSE(std::filesystem::is_symlink(folder / "chain"));
}

TEST(WriteDurably, WhatIsNoRegularFileIsRefusedAndStays) {
  const test::TemporaryFolder folder;
  std::filesystem::create_directories(folder / "folder/inside");
  ASSERT_EQ(mkfifo((folder / "fifo").c_str(), 0600), 0);
  // Never what /dev holds: a program that is wrong would replace it for the whole machine.
  const bool has_device = mknod((folder / "device").c_str(), S_IFCHR | 0600, makedev(1, 3)) == 0;  // root alone may
  std::filesystem::create_symlink("loop", folder / "loop");
  std::filesystem::create_symlink("none/file", folder / "nowhere");
  for (const auto& [name, reason] : {std::pair{"folder", "it is a folder; accepted: the name of a regular file"},
                                     {"fifo", "it is a FIFO"},
                                     {has_device ? "device" : "fifo", has_device ? "it is a device" : "it is a FIFO"},
                                     {"loop", "Too many levels of symbolic links"},
                                     {"nowhere", "No such file"}}) {
    const auto path = folder / name;
    EXPECT_ERROR(write_durably(path, std::string_view("x")), ExitCode::bad_input,
                 AllOf(StartsWith("cannot write " + path.string()), HasSubstr(reason)));
  }
  EXPECT_EQ(entries(folder.path()), has_device ? 5u : 4u);
  // As /dev/stdout is: a link of /proc would be replaced, or a file of that name made.
  std::filesystem::create_symlink("/proc/self/fd/1", folder / "stdout");
  EXPECT_ERROR(write_durably(folder / "stdout", std::string_view("x")), ExitCode::bad_input,
               StartsWith("cannot write"));
}

void write_in_place(const std::filesystem::path& path, std::string_view text) {
  std::ofstream(path, std::ios::binary) << text;
}

// Kills a process that rewrites one file again and again; returns how often the file was neither of the two contents.
template <class Write>
int torn_files(const std::filesystem::path& path, int kills, Write write) {
  const std::string first(2'000'000, 'a'), second(2'000'000, 'b');
  write_durably(path, first);
  int torn = 0;
  for (int i = 0; i < kills; ++i) {
    const pid_t child = fork();
    if (child == 0) {
      for (;;) {
        write(path, second);
        write(path, first);
      }
    }
    std::this_thread::sleep_for(std::chrono::microseconds(3000 + 1700 * i));
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
    const std::string found = read_text(path);
    torn += found != first && found != second;
  }
  return torn;
}

TEST(WriteDurably, SurvivesKill) {
  const test::TemporaryFolder folder;
  const auto durable = [](const auto& path, const std::string& text) { write_durably(path, text); };
  EXPECT_EQ(torn_files(folder / "file", 12, durable), 0);
  // Negative control: writing in place is caught.
  EXPECT_GT(torn_files(folder / "file", 12, write_in_place), 0);
}

TEST(ReadFile, NamesPathAndReason) {
  const test::TemporaryFolder folder;
  const auto missing = (folder / "none").string();
  EXPECT_ERROR(read_bytes(missing), ExitCode::bad_input, "cannot read " + missing + ": No such file or directory");
  EXPECT_ERROR(read_text(folder.path()), ExitCode::bad_input, HasSubstr("not a regular file"));
}

// Nobody writes to it: whoever opened it as any file is would wait for ever.
TEST(ReadFile, AFifoIsRefusedAtOnce) {
  const test::TemporaryFolder folder;
  ASSERT_EQ(mkfifo((folder / "fifo").c_str(), 0600), 0);
  EXPECT_ERROR(read_text(folder / "fifo"), ExitCode::bad_input, HasSubstr("not a regular file"));
}

TEST(MakeWritableFolder, CreatesParentsAndRefusesAFile) {
  const test::TemporaryFolder folder;
  make_writable_folder(folder / "a/b/c");
  make_writable_folder(folder / "a/b/c");
  EXPECT_TRUE(std::filesystem::is_directory(folder / "a/b/c"));
  write_durably(folder / "plain", std::string_view("x"));
  EXPECT_ERROR(make_writable_folder(folder / "plain/sub"), ExitCode::bad_input, HasSubstr("plain/sub"));
  EXPECT_ERROR(make_writable_folder("/proc/spankey"), ExitCode::bad_input, HasSubstr("/proc/spankey"));
}

TEST(FreeBytes, OfAPathThatDoesNotExistYet) {
  const test::TemporaryFolder folder;
  EXPECT_GT(free_bytes(folder / "not/yet").value_or(0), 0u);
}

TEST(FreeBytes, AFileSystemThatTellsNoSizeIsNotFull) {
  EXPECT_EQ(free_bytes("/proc"), std::nullopt);  // 0 blocks of 0
}

}  // namespace
}  // namespace spankey::file_test
