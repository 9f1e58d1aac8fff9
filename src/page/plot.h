// Figures of a document: gnuplot commands and data, drawn into one folder.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "page/document.h"
#include "page/gnuplot.h"
#include "page/panels.h"

namespace spankey {

// Commands and data of one figure as they grow.
class Plot {
 public:
  explicit Plot(int height);  // pixels
  explicit Plot(const Panels& panels);

  void command(const std::string& line) { commands_ += line + "\n"; }
  // A curve of the next `plot` command: "data index 3 " + how. One without rows is left out.
  void curve(PlotBlock rows, const std::string& how);
  // Ends the command that curve() began.
  void end_curves();

  const std::string& commands() const { return commands_; }
  const std::vector<PlotBlock>& blocks() const { return blocks_; }
  const PlotSize& size() const { return size_; }

 private:
  PlotSize size_;
  std::string commands_, curves_;
  std::vector<PlotBlock> blocks_;
};

// A text in gnuplot's quotes, all of it or at most so many characters.
std::string plot_text(const std::string& text);
std::string plot_text(const std::string& text, std::size_t longest);
// "('a' 0, 'b' 1)", for the labels of an axis, in which gnuplot reads formats.
std::string tics_text(const std::vector<std::string>& labels, std::size_t longest = 60);
// Texts at most so many characters long that differ where the labels do: what all begin with goes first, then the
// middle.
std::vector<std::string> shortened(std::vector<std::string> labels, std::size_t longest);

class PlotFolder {
 public:
  // Plots go to `folder`/`below`, which is made. `folder` is that of the document.
  explicit PlotFolder(std::filesystem::path folder, std::filesystem::path below = "plots");

  // Writes <name>.dat, .gp and .svg. Nothing where there is no gnuplot.
  std::optional<Figure> draw(const std::string& name, const Plot& plot, const std::string& title,
                             const std::string& caption);
  // A figure was asked for and could not be drawn.
  bool gnuplot_missing() const { return gnuplot_missing_; }

 private:
  std::filesystem::path folder_, below_;
  bool gnuplot_missing_ = false;
};

}  // namespace spankey
