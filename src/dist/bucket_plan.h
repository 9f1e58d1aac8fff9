// How the gradients are cut into buckets that travel while backward still runs.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace spankey {

// Parameters first .. last-1 in backward order: the order in which their gradients become final.
struct Bucket {
  std::int64_t first = 0, last = 0;
  friend bool operator==(const Bucket&, const Bucket&) = default;
};

// Nothing is left to hide the last bucket behind: it holds at most this much, unless its one parameter is larger.
constexpr std::int64_t last_bucket_most_bytes = std::int64_t{1} << 20;

// `sizes_bytes`: sizes of the parameters in backward order. Every bucket before the last is closed as soon as it has
// reached `bucket_bytes`, so that the first ones are large; the last takes as many of the final parameters as stay
// under min(bucket_bytes, last_bucket_most_bytes), and at least one. No parameters, no buckets.
std::vector<Bucket> plan_buckets(std::span<const std::int64_t> sizes_bytes, std::int64_t bucket_bytes);

}  // namespace spankey
