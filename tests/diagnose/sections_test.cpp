#include <ATen/Parallel.h>
#include <gmock/gmock.h>

#include <filesystem>
#include <set>

#include "diagnose/diagnose.h"
#include "untrained_run.h"

namespace spankey::sections_test {
namespace {

nlohmann::json figures_of(const std::string& config) {
  at::set_num_threads(1);
  auto run = test::untrained(config);
  const auto communicator = make_communicator(Backend::self, 30);
  return diagnose(run, {.samples = 16, .keys = 2}, *communicator).figures;
}

// Every number of the figures gone.
nlohmann::json without_numbers(nlohmann::json figures) {
  if (figures.is_number()) return nullptr;
  if (figures.is_structured())
    for (auto& part : figures) part = without_numbers(part);
  return figures;
}

std::string markdown_of(const Section& section) {
  return to_markdown({"", "", "", {section}});
}

TEST(Sections, HaveNamesOfTheirOwn) {
  std::set<std::string_view> names;
  for (const auto& section : section_table()) EXPECT_TRUE(names.insert(section.name).second) << section.name;
  EXPECT_EQ(names.size(), 11U);
}

// One file each, so that a section is found by its name.
TEST(Sections, HaveFilesOfTheirOwn) {
  const auto folder = std::filesystem::path(std::getenv("SPANKEY_SOURCE_DIR")) / "src/diagnose/sections";
  for (const auto& section : section_table())
    EXPECT_TRUE(std::filesystem::exists(folder / (std::string(section.name) + ".cpp"))) << section.name;
}

TEST(Sections, SayNothingWhereNothingWasMeasured) {
  for (const auto& section : section_table()) EXPECT_TRUE(section.text(nullptr).blocks.empty()) << section.name;
}

TEST(Sections, WriteADashForANumberThatDoesNotExist) {
  std::set<std::string_view> said;
  for (const char* config : {test::mode_b, test::added_keys}) {
    const auto figures = figures_of(config);
    for (const auto& section : section_table()) {
      const auto whole = section.text(figures.at(std::string(section.name)));
      const auto hollow = section.text(without_numbers(figures.at(std::string(section.name))));
      EXPECT_EQ(hollow.blocks.size(), whole.blocks.size()) << section.name;
      if (whole.blocks.empty()) continue;
      said.insert(section.name);
      EXPECT_THAT(markdown_of(hollow), testing::ContainsRegex("[ :,]-[ ,.;|]")) << section.name;
      EXPECT_THAT(markdown_of(hollow), testing::Not(testing::HasSubstr("nan"))) << section.name;
    }
  }
  EXPECT_EQ(said.size(), section_table().size());
}

}  // namespace
}  // namespace spankey::sections_test
