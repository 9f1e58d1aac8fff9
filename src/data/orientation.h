// How a camera was held, which is the EXIF orientation of a picture.
#pragma once

#include <cstddef>
#include <span>

#include "data/picture.h"

namespace spankey {

// The orientation tag of an EXIF block (a TIFF header and its first directory), 1 to 8. It is 1, upright as stored,
// where there is no tag or the block is damaged. CIPA DC-008 (EXIF 2.3), section 4.6.4.
int exif_orientation(std::span<const std::byte> tiff);

// Turns the picture upright.
Picture upright(Picture picture, int orientation);

}  // namespace spankey
