#include "report/diagnosis_page.h"

#include <fmt/format.h>

#include <string>
#include <system_error>
#include <utility>
#include <variant>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "record/run_directory.h"
#include "report/report_tables.h"

namespace spankey {
namespace {

// A picture of the folder that the page lies in: its page names no other place that would be read.
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

// The sections of a page that another command has left in `folder`, behind one called `title`.
std::vector<Section> sections_of(const std::filesystem::path& folder, const std::string& title,
                                 const std::filesystem::path& out) {
  const auto path = folder / document_file;
  std::error_code error;
  if (!std::filesystem::exists(path, error)) return {};
  try {
    auto document = from_json_text(read_text(path), path.string());
    std::vector<Section> sections{{title, {Paragraph{fmt::format("{} {}", document.summary, document.footer)}}}};
    for (auto& section : document.sections) {
      move_figures(section, folder, out);
      sections.push_back(std::move(section));
    }
    return sections;
  } catch (const Error& problem) {
    log::warning("{} is left out: {}", title, problem.what());
    return {};
  }
}

}  // namespace

std::vector<Section> diagnosis_of(const RunRecord& run, const std::filesystem::path& out) {
  return sections_of(run.directory / "diagnose", "Diagnosis", out);
}

std::vector<Section> attacks_of(const RunRecord& run, const std::filesystem::path& out) {
  if (run.attacks.is_null()) return {};
  return sections_of(RunDirectory{run.directory}.attack(), "Attacks", out);
}

}  // namespace spankey
