#include "base/text.h"
#include "support/expect_error.h"

namespace spankey::utf8_test {
namespace {

// The first and the last character of each length, and the neighbours of the surrogates (RFC 3629, section 4).
TEST(Utf8, WellFormedTextIs) {
  for (const char* text : {"", "a\x7F", "\xC2\x80", "\xDF\xBF", "\xE0\xA0\x80", "\xED\x9F\xBF", "\xEE\x80\x80",
                           "\xEF\xBF\xBF", "\xF0\x90\x80\x80", "\xF4\x8F\xBF\xBF", "caf\xC3\xA9 \xE2\x9C\x93"})
    EXPECT_TRUE(is_utf8(text)) << escaped(text);
}

TEST(Utf8, NothingElseIs) {
  for (const char* text : {"caf\xE9", "\x80", "\xBF", "\xC0\x80", "\xC1\xBF", "\xC2", "\xE0\x9F\xBF", "\xE2\x9C",
                           "\xED\xA0\x80", "\xED\xBF\xBF", "\xF0\x8F\xBF\xBF", "\xF0\x9F\x98", "\xF4\x90\x80\x80",
                           "\xF5\x80\x80\x80", "\xFE", "\xFF\xFE", "\xC3(", "a\xE2\x28\xA1"})
    EXPECT_FALSE(is_utf8(text)) << escaped(text);
}

TEST(Utf8, AMessageStaysUtf8OnOneLine) {
  EXPECT_EQ(escaped("caf\xE9 \xC3\xA9\n\t"), "caf\\xE9 \xC3\xA9\\x0A\\x09");
  EXPECT_EQ(escaped("\xC2\x9B"
                    "2J\xC2\xA0"),
            "\\xC2\\x9B"
            "2J\xC2\xA0");  // a control of two bytes, and a blank
  EXPECT_ERROR(require_utf8("caf\xE9", "run.name"), ExitCode::bad_input,
               "run.name 'caf\\xE9': not UTF-8; accepted: text in UTF-8");
  require_utf8("caf\xC3\xA9", "run.name");
}

}  // namespace
}  // namespace spankey::utf8_test
