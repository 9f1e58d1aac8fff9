// The synthetic data of the paper's example 01. Labels are the argmax of a hidden linear map, without noise.
#pragma once

#include <filesystem>

#include "data/dataset.h"

namespace spankey {

// Makes 2000 samples of 20 features x = .5 N(0, 1) with y = argmax x W and W (20, 5) = .5 N(0, 1). A random split gives
// 1600 train and 400 test samples. The law is that of the reference implementation, drawn from our own streams. The
// samples are always the same.
DatasetContent make_argmax();

void render_argmax(const std::filesystem::path& out);

}  // namespace spankey
