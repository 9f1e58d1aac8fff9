// Sums whose bits do not depend on how the terms are spread over ranks.
//
// 2^k terms are added as a balanced binary tree, such as ((0+1)+(2+3))+((4+5)+(6+7)). A rank that holds a block of 2^j
// of them forms the subtree above its block, and ranks continue the same tree by recursive doubling.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "dist/communicator.h"

namespace spankey {

bool is_power_of_two(std::int64_t value);

// Checks that an elastic sum is possible. `shards` and `ranks` must be powers of two, and `ranks` must divide `shards`.
// check_rules() of src/config and resolve_shards() of src/train have refused other settings of a user before.
void check_elastic(std::int64_t shards, std::int64_t ranks);

// The tree over the terms of one rank. They are added one after the other with log2(terms) buffers, as a binary counter
// handles its carries.
class TreeSum {
 public:
  explicit TreeSum(std::int64_t terms);  // a power of two

  // Takes a term other than the last. `term` is used as scratch memory.
  void add(at::Tensor& term);
  // Turns elements begin .. begin+slice.numel()-1 of the last term into those of the sum. Call it once for each
  // element.
  void complete(at::Tensor& slice, std::int64_t begin) const;
  // Starts the next sum and keeps the buffers.
  void restart() { count_ = 0; }

 private:
  std::int64_t terms_, count_ = 0;
  std::vector<at::Tensor> levels_;  // level l holds the sum of 2^l terms
};

// Sums over the ranks of `communicator` (a power of two) as a tree. `tensor` becomes the sum, with the same bits on
// every rank. `scratch` has at least as many elements of the same type.
void tree_all_reduce(Communicator& communicator, at::Tensor& tensor, const at::Tensor& scratch);

}  // namespace spankey
