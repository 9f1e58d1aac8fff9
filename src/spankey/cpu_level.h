// Which instruction set the hand-written kernels use. All give the same bits; they differ in speed.
#pragma once

namespace spankey {

enum class CpuLevel { plain, avx2, avx512 };

// The best level of this processor, or the limit if that is lower.
CpuLevel cpu_level();

// For tests: pretend to be a lesser processor.
void limit_cpu_level(CpuLevel limit);

}  // namespace spankey
