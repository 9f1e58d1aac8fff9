#include <gmock/gmock.h>

#include "base/file.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace spankey::read_json_test {
namespace {

using testing::AllOf;
using testing::HasSubstr;

TEST(ReadJson, AnObjectIsRead) {
  const test::TemporaryFolder folder;
  write_durably(folder / "a.json", R"({"a": [1, 2]})");
  EXPECT_EQ(read_json(folder / "a.json")["a"][1], 2);
  EXPECT_EQ(read_json_if_whole(folder / "a.json"), read_json(folder / "a.json"));
}

TEST(ReadJson, AnythingElseIsNamedOrNone) {
  const test::TemporaryFolder folder;
  for (const char* text : {"", R"({"a": [1,)", "{}{}", "[1]", "null", "\xff"}) {
    write_durably(folder / "a.json", std::string_view(text));
    EXPECT_ERROR(read_json(folder / "a.json"), ExitCode::bad_input,
                 AllOf(HasSubstr(folder / "a.json"), HasSubstr("expected JSON, an object")));
    EXPECT_EQ(read_json_if_whole(folder / "a.json"), std::nullopt) << text;
  }
}

TEST(ReadJson, AFileThatIsNotThereIsAnErrorOfBoth) {
  const test::TemporaryFolder folder;
  EXPECT_ERROR(read_json(folder / "none"), ExitCode::bad_input, HasSubstr("cannot read"));
  EXPECT_ERROR(read_json_if_whole(folder / "none"), ExitCode::bad_input, HasSubstr("cannot read"));
}

}  // namespace
}  // namespace spankey::read_json_test
