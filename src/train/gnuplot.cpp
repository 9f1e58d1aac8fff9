#include "train/gnuplot.h"

#include <fmt/format.h>
#include <spawn.h>
#include <sys/wait.h>

#include <array>
#include <cerrno>
#include <cmath>
#include <cstring>

#include "base/error.h"
#include "base/file.h"

extern char** environ;

namespace spankey {
namespace {

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

bool write_plot(const std::filesystem::path& stem, const std::string& commands, const std::vector<PlotBlock>& blocks,
                const PlotSize& size) {
  const auto file = [&](const char* ending) { return std::filesystem::path(stem.string() + ending); };
  write_durably(file(".dat"), data_text(blocks));
  write_durably(file(".gp"), fmt::format("set terminal svg size {},{} font 'Helvetica,{}' background 'white'\n"
                                         "set output {}\nset datafile missing '?'\ndata = {}\n{}\n",
                                         size.width, size.height, size.font, gnuplot_quoted(file(".svg").string()),
                                         gnuplot_quoted(file(".dat").string()), commands));
  std::string program = "gnuplot", script = file(".gp").string();
  const std::array<char*, 3> arguments{program.data(), script.data(), nullptr};
  pid_t child = 0;
  const int refused = ::posix_spawnp(&child, program.c_str(), nullptr, nullptr, arguments.data(), environ);
  if (refused == ENOENT) return false;
  if (refused != 0) fail_run("gnuplot: {}", std::strerror(refused));
  int status = 0;
  while (::waitpid(child, &status, 0) < 0)
    if (errno != EINTR) fail_run("waiting for gnuplot: {}", std::strerror(errno));
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) fail_run("gnuplot refused {}: its message stands above", script);
  return true;
}

}  // namespace spankey
