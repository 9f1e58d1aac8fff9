#include "page/document.h"

#include <gmock/gmock.h>

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

}  // namespace
}  // namespace spankey::document_test
