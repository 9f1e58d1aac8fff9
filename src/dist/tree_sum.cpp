#include "dist/tree_sum.h"

#include <ATen/Functions.h>

#include <bit>

#include "base/error.h"

namespace spankey {

bool is_power_of_two(std::int64_t value) {
  return value > 0 && std::has_single_bit(static_cast<std::uint64_t>(value));
}

void check_elastic(std::int64_t shards, std::int64_t ranks) {
  SPANKEY_CHECK(is_power_of_two(shards));
  SPANKEY_CHECK(is_power_of_two(ranks));
  SPANKEY_CHECK_EQ(shards % ranks, 0);
}

TreeSum::TreeSum(std::int64_t terms)
    : terms_(terms), levels_(static_cast<std::size_t>(std::countr_zero(static_cast<std::uint64_t>(terms)))) {
  SPANKEY_CHECK(is_power_of_two(terms));
}

void TreeSum::add(at::Tensor& term) {
  SPANKEY_CHECK_LT(count_ + 1, terms_);
  const auto free = static_cast<std::size_t>(std::countr_one(static_cast<std::uint64_t>(count_)));
  auto& target = levels_[free];
  if (!target.defined()) target = at::empty_like(term);
  if (free == 0) {
    target.copy_(term);
  } else {
    for (std::size_t level = 0; level + 1 < free; ++level) term.add_(levels_[level]);
    at::add_out(target, levels_[free - 1], term);
  }
  ++count_;
}

void TreeSum::complete(at::Tensor& slice, std::int64_t begin) const {
  SPANKEY_CHECK_EQ(count_ + 1, terms_);
  for (const auto& level : levels_) slice.add_(level.narrow(0, begin, slice.numel()));
}

void tree_all_reduce(Communicator& communicator, at::Tensor& tensor, const at::Tensor& scratch) {
  SPANKEY_CHECK(is_power_of_two(communicator.size()));
  auto theirs = scratch.narrow(0, 0, tensor.numel());
  for (int distance = 1; distance < communicator.size(); distance *= 2) {
    communicator.exchange(tensor, theirs, communicator.rank() ^ distance);
    tensor.add_(theirs);  // commutative: both sides get the same bits
  }
}

}  // namespace spankey
