// A kernel that does one thing wrong if told to, and launches beyond the limits: what the host must not let pass.
#pragma once

#include <vector>

namespace spankey::mutants {

enum class Fault {
  none,
  no_barrier,           // reads what other warps may not have written yet
  barrier_in_a_branch,  // that a part of the block does not take
  barrier_elsewhere,    // half of the block waits in another line
  early_end,            // of a thread that the others wait for
  lane_missing,         // at a shuffle that names it
  unnamed_lane,         // is asked for its value
  write_behind,         // the end of an array in shared memory
  too_much_shared,      // memory
  grid_too_high,
  no_block,
  block_too_large,
  block_too_deep,
};

constexpr int threads = 96;

// The sum of each block of `threads` values. std::runtime_error where the host has noticed the fault.
std::vector<float> sums_of_blocks(const std::vector<float>& values, Fault fault);

}  // namespace spankey::mutants
