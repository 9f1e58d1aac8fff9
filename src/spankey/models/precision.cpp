#include "spankey/models/precision.h"

#include <ATen/autocast_mode.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include <atomic>

namespace spankey {
namespace {

// Intel's manual, CPUID leaf 7: AVX512_BF16 is bit 5 of eax in sub-leaf 1, AMX_BF16 bit 22 of edx in sub-leaf 0.
bool detect() {
#if defined(__x86_64__)
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  if (__get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) && (eax >> 5 & 1U)) return true;
  return __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) && (edx >> 22 & 1U);
#else
  return false;
#endif
}

std::atomic<bool> hidden{false};

}  // namespace

Bf16Scope::Bf16Scope(c10::DeviceType device)
    : device_(device), was_enabled_(at::autocast::is_autocast_enabled(device)) {
  at::autocast::set_autocast_dtype(device_, at::kBFloat16);
  at::autocast::set_autocast_enabled(device_, true);
}

// Cached copies of the weights end with the scope, because the weights will change.
Bf16Scope::~Bf16Scope() {
  at::autocast::set_autocast_enabled(device_, was_enabled_);
  at::autocast::clear_cache();
}

bool in_bf16_scope() {
  return at::autocast::is_autocast_enabled(at::kCPU);
}

bool cpu_has_bf16() {
  static const bool detected = detect();
  return detected && !hidden.load(std::memory_order_relaxed);
}

void hide_bf16(bool hide) {
  hidden.store(hide, std::memory_order_relaxed);
}

}  // namespace spankey
