#include "spankey/ops/cpu_level.h"

#include <algorithm>
#include <atomic>

namespace spankey {
namespace {

CpuLevel detect() {
#if defined(__x86_64__)
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq"))
    return CpuLevel::avx512;
  if (avx2) return CpuLevel::avx2;
#endif
  return CpuLevel::plain;
}

std::atomic<CpuLevel> highest{CpuLevel::avx512};

}  // namespace

CpuLevel cpu_level() {
  static const CpuLevel detected = detect();
  return std::min(detected, highest.load(std::memory_order_relaxed));
}

void limit_cpu_level(CpuLevel limit) {
  highest.store(limit, std::memory_order_relaxed);
}

}  // namespace spankey
