// The tensor cores of a GPU of compute capability 8.0 or later, for a warp whose lanes all call this together.
#pragma once

#include <cstdint>

namespace spankey {

// The bits of a float32 rounded to TF32, which has 10 bits of mantissa.
__device__ inline std::uint32_t tf32_of(float value) {
  std::uint32_t bits;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(value));
  return bits;
}

// c (16, 8) += a (16, 8) b (8, 8). With g = lane / 4 and t = lane % 4 a lane has
//   a(g, t), a(g + 8, t), a(g, t + 4), a(g + 8, t + 4)
//   b(t, g), b(t + 4, g)
//   c(g, 2 t), c(g, 2 t + 1), c(g + 8, 2 t), c(g + 8, 2 t + 1)
__device__ inline void multiply_add(const std::uint32_t (&a)[4], const std::uint32_t (&b)[2], float (&c)[4]) {
  // Volatile, so that it is not moved to where some of the lanes are absent.
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, "
      "%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

}  // namespace spankey
