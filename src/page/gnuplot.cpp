#include "page/gnuplot.h"

#include <fmt/format.h>

#include <chrono>
#include <cmath>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "base/run_program.h"

namespace spankey {
namespace {

constexpr std::chrono::seconds patience{120};

std::string data_text(const std::vector<PlotBlock>& blocks) {
  std::string text;
  for (const auto& block : blocks) {
    if (!text.empty()) text += "\n\n";
    for (const auto& row : block) {
      for (const double value : row) text += std::isfinite(value) ? fmt::format("{:.10g} ", value) : "? ";
      text += "\n";
    }
  }
  return text;
}

}  // namespace

std::string gnuplot_quoted(const std::string& text) {
  std::string quoted = "'";
  for (const char c : text) quoted.append(c == '\'' ? 2 : 1, c);
  return quoted + "'";
}

std::filesystem::path narrow_form_of(const std::filesystem::path& svg) {
  auto name = svg;
  return name.replace_filename(svg.stem().string() + "_narrow" + svg.extension().string());
}

bool write_plot(const std::filesystem::path& stem, const std::string& commands, const std::vector<PlotBlock>& blocks,
                const PlotSize& size) {
  const auto file = [&](const char* ending) { return std::filesystem::path(stem.string() + ending); };
  const auto svg = file(".svg");
  const auto output = [&](int width, int height, const std::filesystem::path& path) {
    return fmt::format("  set terminal svg size {},{} font 'Helvetica,{}' background 'white'\n  set output {}\n", width,
                       height, size.font, gnuplot_quoted(path.string()));
  };
  write_durably(file(".dat"), data_text(blocks));
  write_durably(file(".gp"), fmt::format("if (!exists('narrow')) narrow = 0\nif (!narrow) {{\n{}}} else {{\n{}}}\n"
                                         "set datafile missing '?'\ndata = {}\n{}\n",
                                         output(size.width, size.height, svg),
                                         output(size.narrow_width, size.narrow_height, narrow_form_of(svg)),
                                         gnuplot_quoted(file(".dat").string()), commands));
  const auto script = file(".gp").string();
  for (const bool narrow : {false, true}) {
    const auto gnuplot = run_program({"gnuplot", "-e", narrow ? "narrow = 1" : "narrow = 0", script}, patience);
    if (gnuplot.missing()) return false;
    if (gnuplot.timed_out) fail_run("gnuplot has not drawn {} within {} s", script, patience.count());
    if (gnuplot.exit_code != 0) fail_run("gnuplot refused {}: {}", script, gnuplot.complaint());
    // In the narrow form it complains of every legend that is a tight fit.
    if (!gnuplot.err.empty() && !narrow) log::warning("gnuplot, {}: {}", script, gnuplot.complaint());
  }
  return true;
}

}  // namespace spankey
