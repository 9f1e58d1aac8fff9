#include "base/log.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdio>

#include "base/file.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace spankey::log_test {
namespace {

using testing::HasSubstr;
using testing::MatchesRegex;

// What reaches file descriptor 2 while `action` runs.
template <class Action>
std::string standard_error_of(const std::filesystem::path& file, Action action) {
  std::fflush(stderr);
  const int saved = dup(2);
  const int fd = open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  dup2(fd, 2);
  close(fd);
  action();
  log::flush();
  std::fflush(stderr);
  dup2(saved, 2);
  close(saved);
  return read_text(file);
}

TEST(Log, ConsoleShowsTimeRankAndLevel) {
  const test::TemporaryFolder folder;
  const std::string text = standard_error_of(folder / "err", [] {
    log::start(0, 2);
    log::info("step {} {}", 3, "{not a format}");
    log::debug("hidden");
  });
  EXPECT_THAT(text, MatchesRegex("[0-9:]+ \\[0/2\\] info: step 3 \\{not a format\\}\n"));
}

TEST(Log, OtherRanksPrintOnlyWarningsAndErrors) {
  const test::TemporaryFolder folder;
  const std::string text = standard_error_of(folder / "err", [] {
    log::start(1, 2);
    log::info("quiet");
    log::warning("careful");
    log::error("broken");
  });
  EXPECT_THAT(text, MatchesRegex("[0-9:]+ \\[1/2\\] warning: careful\n[0-9:]+ \\[1/2\\] error: broken\n"));
}

TEST(Log, FileOfTheRankHoldsEverythingAndIsAppendedTo) {
  const test::TemporaryFolder folder;
  standard_error_of(folder / "err", [&] {
    for (int i = 0; i < 2; ++i) {
      log::start(1, 2);
      log::add_file(folder.path());
      log::info("quiet {}", i);
      log::debug("detail {}", i);
    }
  });
  const std::string text = read_text(folder / "rank1.log");
  for (const auto* expected : {"info: quiet 0", "debug: detail 0", "info: quiet 1", "debug: detail 1"}) {
    EXPECT_THAT(text, HasSubstr(expected));
  }
}

TEST(Log, FileThatCannotBeWrittenIsAnError) {
  const test::TemporaryFolder folder;
  write_durably(folder / "plain", std::string_view("x"));
  EXPECT_ERROR(log::add_file(folder / "plain"), ExitCode::bad_input, HasSubstr("plain/rank1.log"));
}

}  // namespace
}  // namespace spankey::log_test
