#include "base/text.h"
#include "support/expect_error.h"

namespace spankey::markdown_test {
namespace {

TEST(Markdown, TextMeansItself) {
  EXPECT_EQ(markdown_escaped("a | *b* [c] `d` \\\n<e> & f"), "a \\| \\*b\\* \\[c] \\`d\\` \\\\ &lt;e> &amp; f");
  EXPECT_EQ(markdown_prose("`code` | <e>"), "`code` \\| &lt;e>");
}

TEST(Markdown, Table) {
  MarkdownTable table({{"group", Align::left}, {"mean", Align::right}});
  table.row({"a", "0.5"});
  table.row({"", "-"});
  EXPECT_EQ(table.text(), "| group | mean |\n| --- | ---: |\n| a | 0.5 |\n|  | - |\n");
  EXPECT_ERROR(table.row({"a"}), ExitCode::run_failed, testing::HasSubstr("1 against 2"));
}

}  // namespace
}  // namespace spankey::markdown_test
