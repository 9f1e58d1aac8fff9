// The synthetic data of the paper's example 01: labels are the argmax of a hidden linear map, without noise.
#pragma once

#include <filesystem>

#include "data/dataset.h"

namespace spankey {

// 2000 samples of 20 features x = .5 N(0, 1), y = argmax x W with W (20, 5) = .5 N(0, 1); 1600 train and 400 test
// samples by a random split. The law of the reference implementation, drawn from streams of our own; always the same
// samples.
DatasetContent make_argmax();

void render_argmax(const std::filesystem::path& out);

}  // namespace spankey
