// The tensor cores of a GPU of compute capability 8.0 or later, for a warp whose lanes all call this together.
#pragma once

#include <cstdint>

namespace spankey {

// A float32 as a factor in TF32, which has 10 bits of mantissa. The tensor cores cut the others off. The product lies
// about half a unit higher, so that what is cut is rounded. It keeps NaN, infinity and every number that TF32 holds,
// and costs one instruction, where the conversion of PTX takes three.
__device__ inline std::uint32_t tf32_of(float value) {
  constexpr float half_a_unit_up = 0x1.0018p0F;
  return __float_as_uint(half_a_unit_up * value);
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
