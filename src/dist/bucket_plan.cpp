#include "dist/bucket_plan.h"

#include <algorithm>

#include "base/error.h"

namespace spankey {

std::vector<Bucket> plan_buckets(std::span<const std::int64_t> sizes_bytes, std::int64_t bucket_bytes) {
  SPANKEY_CHECK_GE(bucket_bytes, 1);
  if (sizes_bytes.empty()) return {};
  const auto count = static_cast<std::int64_t>(sizes_bytes.size());
  const auto size = [&](std::int64_t parameter) { return sizes_bytes[static_cast<std::size_t>(parameter)]; };

  const std::int64_t tail_most = std::min(bucket_bytes, last_bucket_most_bytes);
  std::int64_t tail = count - 1;
  for (std::int64_t bytes = size(tail); tail > 0 && bytes + size(tail - 1) <= tail_most; --tail)
    bytes += size(tail - 1);

  std::vector<Bucket> buckets;
  std::int64_t first = 0, bytes = 0;
  for (std::int64_t parameter = 0; parameter < tail; ++parameter) {
    bytes += size(parameter);
    if (bytes < bucket_bytes && parameter + 1 < tail) continue;
    buckets.push_back({first, parameter + 1});
    first = parameter + 1;
    bytes = 0;
  }
  buckets.push_back({tail, count});
  return buckets;
}

}  // namespace spankey
