// The configuration that most tests of runs begin with.
#pragma once

namespace spankey::test {

// The small convolutional network with keys at its first and its last injection point, which rejects by a class of its
// own whoever has no valid key.
inline constexpr const char* mode_b = "[deny]\nmode='B'\n[key]\nlayers=[0,2]\n";

}  // namespace spankey::test
