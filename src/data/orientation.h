// How a camera was held: the EXIF orientation of a picture.
#pragma once

#include <cstddef>
#include <span>

#include "data/picture.h"

namespace spankey {

// The orientation tag of an EXIF block (a TIFF header and its first directory), 1 to 8; 1, upright as stored, where
// there is none or the block is damaged. CIPA DC-008 (EXIF 2.3), section 4.6.4.
int exif_orientation(std::span<const std::byte> tiff);

// The picture as it is meant to be seen.
Picture upright(Picture picture, int orientation);

}  // namespace spankey
