// Draws plots with gnuplot.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace spankey {

// One block of a data file, which is a list of rows of numbers. Not-a-number is written as gnuplot's missing value.
using PlotBlock = std::vector<std::vector<double>>;

struct PlotSize {
  int width = 720, height = 460, font = 14;
  int narrow_width = 390, narrow_height = 360;  // of the form for narrow screens
};

// Returns the file of that form beside the wide one, "a_narrow.svg" for "a.svg".
std::filesystem::path narrow_form_of(const std::filesystem::path& svg);

// Returns the text in single quotes, which know no escapes but the doubled quote.
std::string gnuplot_quoted(const std::string& text);

// Writes STEM.dat (the blocks, which are `index 0`, `index 1`, ... in gnuplot) and STEM.gp, and has gnuplot make
// STEM.svg and STEM_narrow.svg of them. `commands` are gnuplot commands that read from the file name in the gnuplot
// variable `data`. They may ask the variable `narrow` which form is drawn. Terminal and output are set already. Returns
// false, with the other two files left in place, where there is no gnuplot. Throws Error(run_failed) where gnuplot
// fails.
bool write_plot(const std::filesystem::path& stem, const std::string& commands, const std::vector<PlotBlock>& blocks,
                const PlotSize& size = {});

}  // namespace spankey
