// Plots through gnuplot.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace spankey {

// One block of a data file: rows of numbers. Not-a-number is written as gnuplot's missing value.
using PlotBlock = std::vector<std::vector<double>>;

// Writes STEM.dat (the blocks, told apart by `index 0`, `index 1`, ... in gnuplot) and STEM.gp, and has gnuplot make
// STEM.svg of them. `commands` are gnuplot commands that read from the file name in the gnuplot variable `data`;
// terminal and output are set already. False, with the other two files left in place, where there is no gnuplot.
// Error(run_failed) where gnuplot fails.
bool write_plot(const std::filesystem::path& stem, const std::string& commands, const std::vector<PlotBlock>& blocks);

}  // namespace spankey
