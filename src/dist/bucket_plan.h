// Cuts the gradients into buckets that are sent while backward still runs.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace spankey {

// Parameters first .. last-1 in backward order, which is the order in which their gradients become final.
struct Bucket {
  std::int64_t first = 0, last = 0;
  friend bool operator==(const Bucket&, const Bucket&) = default;
};

// No computation is left to hide the last bucket behind. It therefore holds at most this much, unless its one parameter
// is larger.
constexpr std::int64_t last_bucket_most_bytes = std::int64_t{1} << 20;

// `sizes_bytes` holds the sizes of the parameters in backward order. Every bucket before the last is closed as soon as
// it has reached `bucket_bytes`, so that the first ones are large. The last takes as many of the final parameters as
// stay under min(bucket_bytes, last_bucket_most_bytes), and at least one. Without parameters there are no buckets.
std::vector<Bucket> plan_buckets(std::span<const std::int64_t> sizes_bytes, std::int64_t bucket_bytes);

}  // namespace spankey
