#include "base/text.h"

#include <gtest/gtest.h>
#include <pty.h>
#include <unistd.h>

#include <cstdlib>

namespace spankey::text_test {
namespace {

TEST(Text, DurationsInWords) {
  EXPECT_EQ(duration_text(0.4), "0 s");
  EXPECT_EQ(duration_text(59.4), "59 s");
  EXPECT_EQ(duration_text(59.6), "1 min 00 s");
  EXPECT_EQ(duration_text(245), "4 min 05 s");
  EXPECT_EQ(duration_text(3600), "1 h 00 min");
  EXPECT_EQ(duration_text(100 * 3600 + 59 * 60 + 59), "100 h 59 min");
}

TEST(Text, DurationsAsAClockShowsThem) {
  EXPECT_EQ(clock_text(-3), "0:00");
  EXPECT_EQ(clock_text(12.4), "0:12");
  EXPECT_EQ(clock_text(245), "4:05");
  EXPECT_EQ(clock_text(3599.6), "1:00:00");
  EXPECT_EQ(clock_text(4325), "1:12:05");
}

TEST(Text, ThousandsAreGrouped) {
  EXPECT_EQ(group_thousands(0), "0");
  EXPECT_EQ(group_thousands(999), "999");
  EXPECT_EQ(group_thousands(1000), "1,000");
  EXPECT_EQ(group_thousands(1'020'003), "1,020,003");
}

TEST(Text, TheLastLineIsTheLastThatIsNotBlank) {
  EXPECT_EQ(last_line_of("a\n b c \r\n\n \n"), " b c");
  EXPECT_EQ(last_line_of("a"), "a");
  EXPECT_EQ(last_line_of(" \n\n"), "");
}

TEST(Text, IsCutByCharacters) {
  EXPECT_EQ(count_characters("\u00e4b\u2581"), 3U);
  EXPECT_EQ(first_characters("\u00e4b\u2581", 2), "\u00e4b");
  EXPECT_EQ(first_characters("ab", 5), "ab");
  EXPECT_EQ(without_middle("abcdefghij", 7), "ab...ij");
  EXPECT_EQ(without_middle("abcdefg", 7), "abcdefg");
}

TEST(Text, LinesBreakAtBlanks) {
  EXPECT_EQ(wrapped("one two three", 7), (std::vector<std::string>{"one two", "three"}));
  EXPECT_EQ(wrapped("abcdefgh ij", 3), (std::vector<std::string>{"abc", "def", "gh", "ij"}));
  EXPECT_EQ(wrapped("", 3), std::vector<std::string>());
}

TEST(Text, OnlyATerminalThatSaysSoRedraws) {
  int terminal = -1, other_end = -1, pipe_ends[2] = {-1, -1};
  ASSERT_EQ(openpty(&other_end, &terminal, nullptr, nullptr, nullptr), 0);
  ASSERT_EQ(pipe(pipe_ends), 0);
  ASSERT_EQ(setenv("TERM", "xterm", 1), 0);
  EXPECT_TRUE(redraws_lines(terminal));
  EXPECT_FALSE(redraws_lines(pipe_ends[1]));
  EXPECT_FALSE(redraws_lines(-1));
  for (const char* kind : {"dumb", ""}) {
    ASSERT_EQ(setenv("TERM", kind, 1), 0);
    EXPECT_FALSE(redraws_lines(terminal)) << kind;
  }
  ASSERT_EQ(unsetenv("TERM"), 0);
  EXPECT_FALSE(redraws_lines(terminal));
  for (const int end : {terminal, other_end, pipe_ends[0], pipe_ends[1]}) close(end);
}

}  // namespace
}  // namespace spankey::text_test
