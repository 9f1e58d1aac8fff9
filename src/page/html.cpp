#include <fmt/format.h>

#include <algorithm>
#include <system_error>

#include "base/error.h"
#include "base/file.h"
#include "page/document.h"
#include "page/gnuplot.h"
#include "page/inline_svg.h"

namespace spankey {
namespace {

constexpr const char* style = R"css(
:root { color-scheme: light dark; --ink: #1d2329; --soft: #5b6670; --paper: #fff; --line: #d9dee3; --band: #f5f7f9;
  --link: #0b5cad; --shade: rgb(29 35 41 / .22); }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e8ec; --soft: #9aa5b0; --paper: #14181c; --line: #343c44;
  --band: #1c2228; --link: #7fb8f5; --shade: rgb(154 165 176 / .4); } }
* { box-sizing: border-box; }
/* Text, tables and figures end at the same edge: that of a figure, 60rem wide. */
body { margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 62.5rem; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, "Segoe UI", Helvetica, Arial, sans-serif; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 .75rem; overflow-wrap: anywhere; }
h2 { font-size: 1.25rem; margin: 2.75rem 0 .75rem; padding-top: .75rem; border-top: 1px solid var(--line); }
h2 a { color: inherit; text-decoration: none; }
h2 a:hover::after { content: " #"; color: var(--soft); }
a { color: var(--link); }
p { margin: .6rem 0; overflow-wrap: anywhere; }
.summary { font-size: 1.06rem; }
.figures { display: flex; flex-wrap: wrap; gap: 1px; margin: 1rem 0;
  background: var(--line); border: 1px solid var(--line); border-radius: 6px; overflow: hidden; }
.figures div { flex: 1 1 9.5rem; background: var(--paper); padding: .8rem 1rem; }
.figures dt { font-size: .92rem; color: var(--soft); }
.figures dd { margin: 0; font-size: .84rem; line-height: 1.4; color: var(--soft); overflow-wrap: anywhere; }
.figures dd.value { font-size: 2.3rem; line-height: 1.2; font-weight: 600; color: var(--ink);
  font-variant-numeric: tabular-nums; }
nav { margin: 1rem 0 0; font-size: .92rem; display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; }
code { font: .88em ui-monospace, "SF Mono", Menlo, Consolas, monospace; background: var(--band); padding: .08em .3em;
  border-radius: 3px; }
/* Shadows at the edges show that there is more. Covers that scroll with the table hide them where there is none. */
.scroll { overflow-x: auto; margin: .75rem 0 1.25rem; border: 1px solid var(--line); border-radius: 6px;
  background: linear-gradient(to right, var(--paper) 40%, transparent) 0 0 / 2.5rem 100% no-repeat local,
    linear-gradient(to left, var(--paper) 40%, transparent) 100% 0 / 2.5rem 100% no-repeat local,
    linear-gradient(to right, var(--shade), transparent) 0 0 / .9rem 100% no-repeat scroll,
    linear-gradient(to left, var(--shade), transparent) 100% 0 / .9rem 100% no-repeat scroll; }
table { border-collapse: separate; border-spacing: 0; width: 100%; font-size: .86rem; font-variant-numeric: tabular-nums; }
th, td { padding: .38rem .5rem; text-align: left; white-space: nowrap; vertical-align: top; }
td.text { white-space: normal; min-width: 8rem; max-width: 30rem; overflow-wrap: anywhere; text-wrap: balance; }
/* What a row is about stays in sight where the table scrolls. */
td:first-child, th:first-child { position: sticky; left: 0; background: var(--paper); min-width: 9rem; }
th { white-space: normal; min-width: 5rem; font-weight: 600; border-bottom: 2px solid var(--line); vertical-align: bottom; }
th.number, td.number { text-align: right; }
tbody tr + tr td { border-top: 1px solid var(--line); }
th[data-sorts] { cursor: pointer; }
th[aria-sort=ascending]::after { content: " \2191"; }
th[aria-sort=descending]::after { content: " \2193"; }
.caption, figcaption { font-size: .92rem; color: var(--soft); margin: 1.1rem 0 .5rem; }
figcaption { margin: .4rem 0 0; }
figcaption b { color: var(--ink); }
figure { margin: 1.25rem 0 2rem; }
figure svg { width: 100%; height: auto; display: block; }
figure svg.narrow { display: none; max-width: 30rem; margin: 0 auto; }
figure svg text { font-family: system-ui, "Segoe UI", Helvetica, Arial, sans-serif; }
pre { overflow-x: auto; background: var(--band); padding: .9rem; border-radius: 6px; font-size: .84rem; line-height: 1.45; }
details { margin: 1rem 0; } summary { cursor: pointer; font-weight: 600; }
footer { margin-top: 3rem; padding-top: .75rem; border-top: 1px solid var(--line); color: var(--soft); font-size: .88rem; }
@media screen and (max-width: 40rem) { body { padding: 1rem 1.25rem 3rem; }
  h1 { font-size: 1.4rem; }
  figure svg.narrow { display: block; } figure svg.wide { display: none; }
  td:first-child, th:first-child { min-width: 6.5rem; max-width: 9rem; } .figures dd.value { font-size: 1.8rem; } }
@media print { :root { color-scheme: light; --ink: #1d2329; --soft: #5b6670; --paper: #fff; --line: #d9dee3;
  --band: #f5f7f9; --link: #0b5cad; } html { font-size: 11px; }
  body { max-width: none; padding: 0; font-size: 1rem; } nav { display: none; }
  .scroll { overflow: visible; border: 0; background: none; } th, td { padding: .2rem .35rem; white-space: normal; }
  table { font-size: .8rem; } td:first-child, th:first-child { min-width: 4rem; position: static; }
  td.text { min-width: 4rem; } figure, tr { break-inside: avoid; } h2 { break-after: avoid; } }
)css";

// Sorts numbers by value, and anything else by the alphabet. Cells without a number come last. What is folded is
// printed.
constexpr const char* script = R"js(
addEventListener("beforeprint", () => document.querySelectorAll("details.table, details.words").forEach(part => part.open = true));
for (const table of document.querySelectorAll("table")) {
  table.querySelectorAll("th").forEach((head, column) => {
    head.dataset.sorts = "";
    head.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      table.querySelectorAll("th").forEach(other => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const key = row => { const text = row.cells[column].textContent, number = parseFloat(text);
        return head.classList.contains("number") ? (isNaN(number) ? Infinity : number) : text; };
      const order = (a, b) => { const x = key(a), y = key(b);
        if (x === Infinity || y === Infinity) return x === y ? 0 : x === Infinity ? 1 : -1;
        return (typeof x === "number" ? x - y : x.localeCompare(y, undefined, {numeric: true})) * (up ? 1 : -1); };
      const body = table.tBodies[0];
      [...body.rows].sort(order).forEach(row => body.append(row));
    });
  });
}
)js";

// Turns text between backquotes into `code`.
std::string prose(const std::string& text) {
  std::string out;
  bool code = false;
  for (const char c : html_escaped(text)) {
    if (c == '`') {
      out += code ? "</code>" : "<code>";
      code = !code;
    } else {
      out += c;
    }
  }
  return out + (code ? "</code>" : "");
}

std::string url_of(const std::string& path) {
  std::string out;
  for (const char c : path) {
    const auto byte = static_cast<unsigned char>(c);
    const bool plain = std::isalnum(byte) != 0 || std::string_view("-_.~/").find(c) != std::string_view::npos;
    out += plain ? std::string(1, c) : fmt::format("%{:02X}", byte);
  }
  return out;
}

class Page {
 public:
  explicit Page(const std::filesystem::path& folder) : folder_(folder) {}

  std::string operator()(const Paragraph& paragraph) const { return "<p>" + prose(paragraph.text) + "</p>\n"; }

  std::string operator()(const Table& table) const {
    std::string head, body;
    for (const auto& column : table.columns)
      head += fmt::format("<th scope=\"col\"{}{}>{}</th>", column.numeric ? " class=\"number\"" : "",
                          column.help.empty() ? "" : fmt::format(" title=\"{}\"", html_escaped(column.help)),
                          html_escaped(column.title));
    for (const auto& row : table.rows) {
      body += "<tr>";
      for (std::size_t i = 0; i < row.size(); ++i)
        body += fmt::format("<td class=\"{}\">{}</td>", table.columns[i].numeric ? "number" : "text", content(row[i]));
      body += "</tr>\n";
    }
    const auto text = fmt::format(
        "<div class=\"scroll\" tabindex=\"0\"><table>\n<thead><tr>{}</tr></thead>\n<tbody>\n{}</tbody></table></div>\n",
        head, body);
    const bool folded = table.rows.size() > most_open_rows;
    return fmt::format("<p class=\"caption\">{}</p>\n{}", prose(table.caption),
                       folded ? fmt::format("<details class=\"table\"><summary>All {} rows</summary>\n{}</details>\n",
                                            table.rows.size(), text)
                              : text);
  }

  std::string operator()(const Figure& figure) {
    ++figures_;
    const auto wide = folder_ / figure.svg, narrow = narrow_form_of(wide);
    std::error_code error;
    const bool has_narrow = std::filesystem::exists(narrow, error);
    auto pictures = picture(wide, has_narrow ? "wide" : "", fmt::format("f{}-", figures_), figure.title);
    if (has_narrow) pictures += picture(narrow, "narrow", fmt::format("f{}n-", figures_), figure.title);
    return fmt::format("<figure>{}<figcaption><b>{}.</b> {}</figcaption></figure>\n", pictures,
                       html_escaped(figure.title), prose(figure.caption));
  }

  std::string operator()(const Listing& listing) const {
    return fmt::format("<details><summary>{}</summary><pre>{}</pre></details>\n", html_escaped(listing.title),
                       html_escaped(listing.text));
  }

 private:
  static std::string picture(const std::filesystem::path& svg, const std::string& form, const std::string& prefix,
                             const std::string& title) {
    const auto element = inline_svg(read_text(svg), prefix, title);
    return form.empty() || element.empty() ? element : fmt::format("<svg class=\"{}\"{}", form, element.substr(4));
  }

  static std::string content(const Cell& cell) {
    const auto text = html_escaped(cell.text);
    return cell.link.empty() ? text : fmt::format("<a href=\"{}\">{}</a>", url_of(cell.link), text);
  }

  const std::filesystem::path& folder_;
  int figures_ = 0;
};

std::string opening(const Document& document) {
  const auto summary = prose(document.summary);
  if (document.figures.empty()) return fmt::format("<p class=\"summary\">{}</p>\n", summary);
  std::string figures;
  for (const auto& figure : document.figures)
    figures += fmt::format("<div><dt>{}</dt><dd class=\"value\">{}</dd><dd>{}</dd></div>\n", html_escaped(figure.label),
                           html_escaped(figure.value), prose(figure.note));
  return fmt::format(
      "<dl class=\"figures\">\n{}</dl>\n<details class=\"words\"><summary>In words</summary><p>{}</p></details>\n",
      figures, summary);
}

}  // namespace

std::string anchor(const std::string& title, std::vector<std::string>& taken) {
  std::string name;
  for (const char c : title) {
    const auto byte = static_cast<unsigned char>(c);
    if (std::isalnum(byte) != 0)
      name += static_cast<char>(std::tolower(byte));
    else if (!name.empty() && name.back() != '-')
      name += '-';
  }
  while (name.ends_with('-')) name.pop_back();
  const auto plain = name;
  for (int i = 2; std::find(taken.begin(), taken.end(), name) != taken.end(); ++i)
    name = fmt::format("{}-{}", plain, i);
  taken.push_back(name);
  return name;
}

std::string to_html(const Document& document, const std::filesystem::path& folder) {
  Page page(folder);
  std::vector<std::string> anchors;
  std::string navigation, body;
  for (const auto& section : document.sections) {
    const auto id = anchor(section.title, anchors);
    const auto title = html_escaped(section.title);
    navigation += fmt::format("<a href=\"#{}\">{}</a>", id, title);
    body += fmt::format("<section id=\"{0}\"><h2><a href=\"#{0}\">{1}</a></h2>\n", id, title);
    for (const auto& block : section.blocks) body += std::visit(page, block);
    body += "</section>\n";
  }
  return fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n{7}<title>{0}</title>\n"
      "<style>{1}</style></head>\n<body>\n<header><h1>{0}</h1>\n{2}<nav>{3}</nav></header>\n"
      "<main>\n{4}</main>\n<footer>{5}</footer>\n<script>{6}</script>\n</body></html>\n",
      html_escaped(document.title), style, opening(document), navigation, body, prose(document.footer), script,
      document.refresh_seconds > 0
          ? fmt::format("<meta http-equiv=\"refresh\" content=\"{}\">\n", document.refresh_seconds)
          : std::string());
}

}  // namespace spankey
