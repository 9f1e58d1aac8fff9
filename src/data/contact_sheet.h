// A picture of a data set with one row of train images per class.
#pragma once

#include <filesystem>

#include "data/dataset.h"

namespace spankey {

// Writes the first 16 train images of each of the first 32 classes, with a grey line between them, as PNG. Throws
// Error(bad_input) for a data set without images, or with other than 1 or 3 channels.
void contact_sheet_png(const Dataset& dataset, const std::filesystem::path& path);

}  // namespace spankey
