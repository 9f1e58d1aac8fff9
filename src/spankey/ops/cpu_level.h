// The instruction set that the hand-written kernels use. All give the same bits and differ only in speed.
#pragma once

namespace spankey {

enum class CpuLevel { plain, avx2, avx512 };

// The best level of this processor, or the limit if that is lower.
CpuLevel cpu_level();

// Selects the kernel for the level in use.
template <class Kernel>
Kernel at_level(Kernel avx512, Kernel avx2, Kernel plain) {
  const CpuLevel level = cpu_level();
  return level == CpuLevel::avx512 ? avx512 : level == CpuLevel::avx2 ? avx2 : plain;
}

// Limits the level, for tests.
void limit_cpu_level(CpuLevel limit);

}  // namespace spankey
