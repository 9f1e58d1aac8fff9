// Makes a picture that gnuplot has written a part of a page.
#pragma once

#include <string>

namespace spankey {

// Returns the <svg> element alone, without background, size and tooltips. Black becomes the colour of the surrounding
// text. Every id begins with `prefix`, so that several pictures can stand on one page. `title` is for readers who do
// not see.
std::string inline_svg(const std::string& svg, const std::string& prefix, const std::string& title);

// Escapes a text for HTML and for attributes.
std::string html_escaped(const std::string& text);

}  // namespace spankey
