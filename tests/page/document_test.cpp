#include "page/document.h"

#include <gmock/gmock.h>

#include <fstream>

#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace spankey::document_test {
namespace {

using testing::HasSubstr;

TEST(Anchor, IsUnique) {
  std::vector<std::string> taken;
  EXPECT_EQ(anchor("Access by group: x", taken), "access-by-group-x");
  EXPECT_EQ(anchor("Access by group: x", taken), "access-by-group-x-2");
}

Document every_block() {
  Table table{"What `it` holds.", {{"name", false, "who"}, {"value"}}, {{{"a|b", "there"}, {"0.5"}}}};
  return {"A title",
          "A summary.",
          "A footer.",
          {{"First", {Paragraph{"Words, `code`."}, std::move(table)}},
           {"Second", {Figure{"Profile", "Drawn.", "plots/a.svg"}, Listing{"More", "x = 1\n"}}},
           {"Empty", {}}}};
}

TEST(Document, ComesBackFromJson) {
  const auto document = every_block();
  const auto back = from_json_text(to_json_text(document), "page.json");
  EXPECT_EQ(to_markdown(back), to_markdown(document));
  EXPECT_EQ(to_json_text(back), to_json_text(document));
  const auto& table = std::get<Table>(back.sections.at(0).blocks.at(1));
  EXPECT_EQ(table.rows.at(0).at(0).link, "there");
  EXPECT_EQ(table.columns.at(0).help, "who");
  EXPECT_FALSE(table.columns.at(0).numeric);
}

TEST(Document, RefusesOtherText) {
  const auto text = [](const std::string& block) {
    return R"({"title": "t", "summary": "", "footer": "", "sections": [{"title": "s", "blocks": [)" + block + "]}]}";
  };
  EXPECT_EQ(from_json_text(text(R"({"paragraph": {"text": "p"}})"), "page.json").sections.size(), 1U);  // control
  const std::vector<std::pair<std::string, std::string>> damaged{
      {"{", "parse error"},
      {R"({"title": "t"})", "summary"},
      {text(R"({"paragraph": {}})"), "text"},
      {text(R"({"movie": {}})"), "unknown kind"},
      {text("3"), "unknown kind"},
      {text(R"({"table": {"caption": "", "columns": [], "rows": [[{"text": "a", "link": ""}]]}})"), "1 cells"}};
  for (const auto& [written, reason] : damaged)
    EXPECT_ERROR(from_json_text(written, "page.json"), ExitCode::bad_input,
                 testing::AllOf(HasSubstr("page.json: not a document"), HasSubstr(reason)));
}

TEST(Document, ItsPageHoldsEverything) {
  const test::TemporaryFolder folder;
  auto document = every_block();
  document.sections.at(1).blocks.erase(document.sections.at(1).blocks.begin());  // there is no picture
  const auto html = to_html(document, folder.path());
  for (const char* part : {"<h1>A title</h1>", "A summary.", "A footer.", "<code>code</code>",
                           "<a href=\"there\">a|b</a>", "x = 1", "<section id=\"empty\">"})
    EXPECT_THAT(html, HasSubstr(part));
  EXPECT_THAT(html, testing::Not(HasSubstr("src=\"")));
}

TEST(Document, OpensWithItsFigures) {
  const test::TemporaryFolder folder;
  Document document{"T", "Many words.", "", {}};
  EXPECT_THAT(to_html(document, folder.path()), testing::Not(HasSubstr("<dl class=\"figures\"")));
  document.figures = {{"worst case", "0.250", "by a `free` key"}, {"no key", "<0.1", ""}};
  const auto html = to_html(document, folder.path());
  EXPECT_THAT(html, HasSubstr("<dt>worst case</dt><dd class=\"value\">0.250</dd><dd>by a <code>free</code> key</dd>"));
  EXPECT_THAT(html, HasSubstr("&lt;0.1"));
  EXPECT_LT(html.find("<dl class=\"figures\""), html.find("<nav>"));
  EXPECT_LT(html.find("class=\"value\""), html.find("Many words."));
  EXPECT_THAT(html, HasSubstr("<summary>In words</summary>"));
  EXPECT_THAT(to_markdown(document), HasSubstr("- **worst case: 0.250** by a `free` key\n"));
  EXPECT_EQ(from_json_text(to_json_text(document), "page.json").figures.at(0).value, "0.250");
}

TEST(Document, LongTablesAreFolded) {
  const test::TemporaryFolder folder;
  Table table{"Rows.", {{"n"}}, {}};
  table.rows.assign(most_open_rows, {{"1"}});
  const auto page = [&] { return to_html({"T", "S", "", {{"A", {table}}}}, folder.path()); };
  EXPECT_THAT(page(), testing::Not(HasSubstr("<details class=\"table\">")));
  table.rows.push_back({{"1"}});
  EXPECT_THAT(page(), HasSubstr("<details class=\"table\"><summary>All 21 rows</summary>"));
  EXPECT_THAT(page(), HasSubstr("beforeprint"));  // what is folded is printed
}

TEST(Document, APageOfARunningSweepLoadsItselfAgain) {
  const test::TemporaryFolder folder;
  Document document{"T", "S", "", {}};
  EXPECT_THAT(to_html(document, folder.path()), testing::Not(HasSubstr("http-equiv")));
  document.refresh_seconds = 60;
  EXPECT_THAT(to_html(document, folder.path()), HasSubstr("<meta http-equiv=\"refresh\" content=\"60\">"));
}

// Narrow screens get the form of a figure that was drawn for them, and each form has ids of its own.
TEST(Document, FiguresHaveANarrowForm) {
  const test::TemporaryFolder folder;
  const auto draw = [&](const char* name) {
    std::ofstream(folder / name) << "<svg width=\"9\" viewBox=\"0 0 9 9\"><path id='p'/></svg>";
  };
  draw("a.svg");
  const Document document{"T", "S", "", {{"A", {Figure{"Curve", "Drawn.", "a.svg"}}}}};
  EXPECT_THAT(to_html(document, folder.path()), testing::Not(HasSubstr("<svg class=")));
  draw("a_narrow.svg");
  const auto html = to_html(document, folder.path());
  EXPECT_THAT(html, testing::AllOf(HasSubstr("<svg class=\"wide\" viewBox"), HasSubstr("<svg class=\"narrow\" viewBox"),
                                   HasSubstr("id='f1-p'"), HasSubstr("id='f1n-p'")));
  EXPECT_THAT(html, HasSubstr("figure svg.wide { display: none; }"));
}

}  // namespace
}  // namespace spankey::document_test
