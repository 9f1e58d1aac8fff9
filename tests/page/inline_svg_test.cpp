#include "page/inline_svg.h"

#include <gmock/gmock.h>

namespace spankey::inline_svg_test {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(InlineSvg, StandsBesideOthersOnAPage) {
  const std::string svg =
      "<?xml version=\"1.0\"?><svg width=\"6\" viewBox=\"0 0 6 3\"><title>Gnuplot</title>"
      "<rect x=\"0\" y=\"0\" width=\"6\" fill=\"#ffffff\"/><g id=\"a\"><use xlink:href='#p' color='rgb(  0,   0,   "
      "0)'/>"
      "</g></svg>";
  const auto in_page = inline_svg(svg, "f1-", "a <b>");
  EXPECT_THAT(in_page, testing::StartsWith("<svg viewBox=\"0 0 6 3\" role=\"img\" aria-label=\"a &lt;b&gt;\""));
  EXPECT_THAT(in_page, HasSubstr("<g id=\"f1-a\"><use xlink:href='#f1-p'/></g></svg>"));
  EXPECT_THAT(in_page, Not(HasSubstr("Gnuplot")));
  EXPECT_THAT(in_page, Not(HasSubstr("<rect")));
}

}  // namespace
}  // namespace spankey::inline_svg_test
