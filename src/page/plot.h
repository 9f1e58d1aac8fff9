// Draws the figures of a document into one folder, from gnuplot commands and data.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "page/document.h"
#include "page/gnuplot.h"
#include "page/panels.h"

namespace spankey {

// Collects the commands and the data of one figure.
class Plot {
 public:
  explicit Plot(int height);  // pixels
  explicit Plot(const Panels& panels);

  void command(const std::string& line) { commands_ += line + "\n"; }
  // Adds a curve to the next `plot` command, as "data index 3 " + how. A curve without rows is left out.
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

// Return a text in gnuplot's quotes, all of it or at most `longest` characters.
std::string plot_text(const std::string& text);
std::string plot_text(const std::string& text, std::size_t longest);
// Returns text such as "('a' 0, 'b' 1)" for the labels of an axis, in which gnuplot reads formats.
std::string tics_text(const std::vector<std::string>& labels, std::size_t longest = 60);
// Returns texts of at most `longest` characters that differ where the labels do. Words with which all begin are cut
// first, then the middle.
std::vector<std::string> shortened(std::vector<std::string> labels, std::size_t longest);

class PlotFolder {
 public:
  // Plots go to `folder`/`below`, which is created. `folder` is that of the document.
  explicit PlotFolder(std::filesystem::path folder, std::filesystem::path below = "plots");

  // Writes <name>.dat, .gp and .svg. Returns nothing where there is no gnuplot.
  std::optional<Figure> draw(const std::string& name, const Plot& plot, const std::string& title,
                             const std::string& caption);
  // True where a figure was asked for and could not be drawn.
  bool gnuplot_missing() const { return gnuplot_missing_; }

 private:
  std::filesystem::path folder_, below_;
  bool gnuplot_missing_ = false;
};

}  // namespace spankey
