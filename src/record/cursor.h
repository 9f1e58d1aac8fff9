// The position of a run, which is the next step to be taken.
#pragma once

#include <cstdint>

namespace spankey {

struct Cursor {
  std::int64_t epoch = 0;        // epoch of the next step
  std::int64_t step = 0;         // step within that epoch
  std::int64_t global_step = 0;  // steps taken since the beginning

  friend bool operator==(const Cursor&, const Cursor&) = default;
};

}  // namespace spankey
