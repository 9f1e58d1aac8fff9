// The built-in data set of digits drawn from stroke outlines with random jitter, 28 x 28 grey pixels.
//
// It needs no download, has any number of samples, and has the same bits on every machine (counter-based draws,
// portable arithmetic). Sample i of a split is a function of (split, i) alone, so that a smaller set is the beginning
// of a larger one. Its label is i mod 10. Rotation, slant, size, shift, pen width, the bending of every stroke and
// noise vary.
#pragma once

#include <cstdint>
#include <filesystem>

#include "data/dataset.h"

namespace spankey {

// Makes so many samples of each split.
DatasetContent make_glyphs(std::int64_t train, std::int64_t test);

// Writes them to a file, durably.
void render_glyphs(std::int64_t train, std::int64_t test, const std::filesystem::path& out);

}  // namespace spankey
