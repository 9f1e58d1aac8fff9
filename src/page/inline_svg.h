// A picture that gnuplot has written, made part of a page.
#pragma once

#include <string>

namespace spankey {

// The <svg> element alone, without background, size and tooltips; black becomes the colour of the surrounding text, and
// every id begins with `prefix`, so that several pictures can stand on one page. `title` is for those who do not see.
std::string inline_svg(const std::string& svg, const std::string& prefix, const std::string& title);

// Text that means itself in HTML and in attributes.
std::string html_escaped(const std::string& text);

}  // namespace spankey
