#include "report/diagnosis_page.h"

#include <fmt/format.h>

#include <string>
#include <system_error>
#include <utility>
#include <variant>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "report/report_tables.h"

namespace spankey {
namespace {

// A picture of the folder that the diagnosis lies in: its page names no other place that would be read.
bool is_picture_of(const Figure& figure, const std::filesystem::path& folder) {
  const std::filesystem::path name(figure.svg);
  std::error_code error;
  return name == name.filename() && std::filesystem::is_regular_file(folder / name, error);
}

void move_figures(Section& section, const std::filesystem::path& folder, const std::filesystem::path& out) {
  std::erase_if(section.blocks, [&](const Block& block) {
    const auto* figure = std::get_if<Figure>(&block);
    return figure != nullptr && !is_picture_of(*figure, folder);
  });
  for (auto& block : section.blocks)
    if (auto* figure = std::get_if<Figure>(&block)) figure->svg = link_to(folder / figure->svg, out);
}

}  // namespace

std::vector<Section> diagnosis_of(const RunRecord& run, const std::filesystem::path& out) {
  const auto folder = run.directory / "diagnose", path = folder / document_file;
  std::error_code error;
  if (!std::filesystem::exists(path, error)) return {};
  try {
    auto document = from_json_text(read_text(path), path.string());
    std::vector<Section> sections{{"Diagnosis", {Paragraph{fmt::format("{} {}", document.summary, document.footer)}}}};
    for (auto& section : document.sections) {
      move_figures(section, folder, out);
      sections.push_back(std::move(section));
    }
    return sections;
  } catch (const Error& problem) {
    log::warning("the diagnosis is left out: {}", problem.what());
    return {};
  }
}

}  // namespace spankey
