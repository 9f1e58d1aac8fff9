#include "page/inline_svg.h"

#include <fmt/format.h>

namespace spankey {
namespace {

void replace_all(std::string& text, const std::string& from, const std::string& to) {
  for (auto at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size()))
    text.replace(at, from.size(), to);
}

// Removes everything from `begin` up to and including the next `end`, wherever it occurs.
void remove_all(std::string& text, const std::string& begin, const std::string& end) {
  for (auto at = text.find(begin); at != std::string::npos; at = text.find(begin, at)) {
    const auto stop = text.find(end, at + begin.size());
    if (stop == std::string::npos) return;
    text.erase(at, stop + end.size() - at);
  }
}

void use_text_colour(std::string& svg) {
  for (const char* black : {"rgb(  0,   0,   0)", "rgb(0,0,0)", "black"})
    for (const char* attribute : {"stroke", "fill"})
      for (const char* quote : {"'", "\""})
        replace_all(svg, fmt::format("{0}={1}{2}{1}", attribute, quote, black),
                    fmt::format("{0}={1}currentColor{1}", attribute, quote));
  for (const char* black : {" color='rgb(  0,   0,   0)'", " color=\"black\"", " color='black'"})
    replace_all(svg, black, "");
}

void set_ids_apart(std::string& svg, const std::string& prefix) {
  for (const char* reference : {"id='", "id=\"", "href='#", "url(#"})
    replace_all(svg, reference, std::string(reference) + prefix);
}

}  // namespace

std::string html_escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

std::string inline_svg(const std::string& svg, const std::string& prefix, const std::string& title) {
  const auto begin = svg.find("<svg"), view = svg.find("viewBox=\"");
  if (begin == std::string::npos || view == std::string::npos) return {};
  const auto box = svg.substr(view, svg.find('"', view + 9) + 1 - view);
  auto body = svg.substr(svg.find('>', view) + 1);
  remove_all(body, "<title>", "</title>");
  remove_all(body, "<desc>", "</desc>");
  remove_all(body, "<filter", "</filter>");
  const auto background = body.find("<rect x=\"0\" y=\"0\"");
  if (background != std::string::npos) body.erase(background, body.find("/>", background) + 2 - background);
  use_text_colour(body);
  set_ids_apart(body, prefix);
  return fmt::format(
      "<svg {} role=\"img\" aria-label=\"{}\" xmlns=\"http://www.w3.org/2000/svg\" "
      "xmlns:xlink=\"http://www.w3.org/1999/xlink\">{}",
      box, html_escaped(title), body);
}

}  // namespace spankey
