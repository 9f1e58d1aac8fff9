// The synthetic data of the paper's example 01. Labels are the argmax of a hidden linear map, without noise.
#pragma once

#include <cstdint>
#include <filesystem>

#include "data/dataset.h"

namespace spankey {

// The published sizes.
struct ArgmaxSizes {
  std::int64_t train = 1600, test = 400;  // samples of each split
  std::int64_t features = 20, classes = 5;
};

// Makes samples of F features x = .5 N(0, 1) with y = argmax x W and W (F, C) = .5 N(0, 1), and splits them at random.
// The law is that of the reference implementation, drawn from our own streams. The same sizes always give the same
// samples.
DatasetContent make_argmax(const ArgmaxSizes& sizes);
// Makes the samples of the published sizes.
DatasetContent make_argmax();

// Writes them to a file, durably.
void render_argmax(const ArgmaxSizes& sizes, const std::filesystem::path& out);

}  // namespace spankey
