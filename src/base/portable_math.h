// float log, sin and cos that give the same bits on every machine and on the GPU.
//
// libm's versions differ between machines. These use only +, -, * and /, each rounded on its own (IEEE 754). They have
// no fused multiply-add (compile with -ffp-contract=off), no table and no branch, so that a loop over them vectorises.
// The polynomials are Taylor series, cut where the rest is below a tenth of an ulp on the reduced interval.
// tests/base/portable_math_test.cpp measures the largest errors, which are 1 ulp for log, and 2 ulp (of the larger of
// the result and 1/8) for sin and cos.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

#ifdef __CUDACC__
#define SPANKEY_HOST_DEVICE __host__ __device__
#else
#define SPANKEY_HOST_DEVICE
#endif

namespace spankey::portable {

namespace detail {

#ifdef __CUDA_ARCH__
// nvcc fuses a * b + c unless told not to. It never fuses the intrinsics.
SPANKEY_HOST_DEVICE inline float mul(float a, float b) {
  return __fmul_rn(a, b);
}
SPANKEY_HOST_DEVICE inline float add(float a, float b) {
  return __fadd_rn(a, b);
}
SPANKEY_HOST_DEVICE inline float div(float a, float b) {
  return __fdiv_rn(a, b);
}
SPANKEY_HOST_DEVICE inline float square_root(float a) {
  return __fsqrt_rn(a);
}
SPANKEY_HOST_DEVICE inline std::int32_t to_bits(float a) {
  return __float_as_int(a);
}
SPANKEY_HOST_DEVICE inline float from_bits(std::int32_t a) {
  return __int_as_float(a);
}
#else
inline float mul(float a, float b) {
  return a * b;
}
inline float add(float a, float b) {
  return a + b;
}
inline float div(float a, float b) {
  return a / b;
}
inline float square_root(float a) {
  return std::sqrt(a);
}
inline std::int32_t to_bits(float a) {
  return std::bit_cast<std::int32_t>(a);
}
inline float from_bits(std::int32_t a) {
  return std::bit_cast<float>(a);
}
#endif

// a * b + c with two roundings.
SPANKEY_HOST_DEVICE inline float mul_add(float a, float b, float c) {
  return add(mul(a, b), c);
}

// The nearest integer (ties to even), |a| < 2^22.
SPANKEY_HOST_DEVICE inline float nearest(float a) {
  constexpr float shift = 12582912.0f;  // 1.5 * 2^23, where the sum has no bits left for a fraction
  return add(add(a, shift), -shift);
}

// ln 2 in two parts. n * ln2_high is exact for |n| < 2^9.
constexpr float ln2_high = 0x1.62e4p-1f;
constexpr float ln2_low = 0x1.7f7d1cp-20f;

}  // namespace detail

// Natural logarithm of a positive, normal, finite x.
SPANKEY_HOST_DEVICE inline float log(float x) {
  using namespace detail;
  // x = 2^e (1 + f), 1 + f in [sqrt(1/2), sqrt(2)).
  constexpr std::int32_t sqrt_half = 0x3f3504f3;
  const std::int32_t bits = to_bits(x);
  const std::int32_t e = (bits - sqrt_half) >> 23;
  const float f = add(from_bits(bits - (e << 23)), -1.0f);
  // With s = f / (2 + f), log(1 + f) = 2 (s + s^3/3 + s^5/5 + ...) = f - f^2/2 + s (f^2/2 + R(s^2)). The leading term
  // of the second form is exact.
  const float s = div(f, add(2.0f, f));
  const float z = mul(s, s);
  const float half_square = mul(mul(0.5f, f), f);
  float rest = mul_add(z, 2.0f / 9, 2.0f / 7);
  rest = mul_add(rest, z, 2.0f / 5);
  rest = mul_add(rest, z, 2.0f / 3);
  rest = mul(rest, z);
  const float exponent = static_cast<float>(e);
  const float small = mul_add(exponent, ln2_low, mul(s, add(half_square, rest)));
  return mul_add(exponent, ln2_high, add(f, -add(half_square, -small)));
}

// sin(2 pi u) and cos(2 pi u), |u| < 2^20.
SPANKEY_HOST_DEVICE inline void sincos_2pi(float u, float& sine, float& cosine) {
  using namespace detail;
  const float quarter = nearest(mul(4.0f, u));
  const float r = mul_add(quarter, -0.25f, u);  // exact, |r| <= 1/8
  constexpr float two_pi_high = 0x1.921fb6p+2f, two_pi_low = -0x1.777a5cp-23f;
  const float a = mul_add(r, two_pi_high, mul(r, two_pi_low));
  const float z = mul(a, a);
  float s = mul_add(z, 1.0f / 362880, -1.0f / 5040);
  s = mul_add(s, z, 1.0f / 120);
  s = mul_add(s, z, -1.0f / 6);
  s = mul_add(mul(s, z), a, a);
  float c = mul_add(z, -1.0f / 3628800, 1.0f / 40320);
  c = mul_add(c, z, -1.0f / 720);
  c = mul_add(c, z, 1.0f / 24);
  c = mul_add(c, z, -0.5f);
  c = mul_add(c, z, 1.0f);
  const std::int32_t quadrant = static_cast<std::int32_t>(quarter);
  const bool swapped = (quadrant & 1) != 0;
  const float first = swapped ? c : s, second = swapped ? s : c;
  sine = (quadrant & 2) != 0 ? -first : first;
  cosine = ((quadrant + 1) & 2) != 0 ? -second : second;
}

// Two independent N(0, 1) draws from two random words (Box and Muller 1958); |z| <= 6.7.
SPANKEY_HOST_DEVICE inline void normal_pair(std::uint32_t word1, std::uint32_t word2, float& z0, float& z1) {
  using namespace detail;
  // u1 = (k + 1/2) / 2^31 in (0, 1] has 31 bits, since the tail of the normal comes from small u1.
  const float u1 = mul(add(static_cast<float>(static_cast<std::int32_t>(word1 >> 1)), 0.5f), 0x1p-31f);
  const float u2 = mul(static_cast<float>(static_cast<std::int32_t>(word2 >> 8)), 0x1p-24f);
  const float radius = square_root(mul(-2.0f, log(u1)));
  float sine, cosine;
  sincos_2pi(u2, sine, cosine);
  z0 = mul(radius, cosine);
  z1 = mul(radius, sine);
}

}  // namespace spankey::portable

namespace spankey {

// The 16-bit numbers of kernels, with the bits of LibTorch's BFloat16, whose header costs a CUDA compiler seconds. This
// is the upper half of a float32.
struct BFloat16 {
  std::uint16_t bits;

  BFloat16() = default;

  // Rounds to the nearest, ties to even. NaN stays NaN.
  SPANKEY_HOST_DEVICE explicit BFloat16(float value) {
#ifdef __CUDA_ARCH__
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(value));
#else
    const auto whole = std::bit_cast<std::uint32_t>(value);
    bits = value != value ? std::uint16_t{0x7FC0}
                          : static_cast<std::uint16_t>((whole + 0x7FFFU + (whole >> 16 & 1)) >> 16);
#endif
  }

  SPANKEY_HOST_DEVICE explicit operator float() const {
    return portable::detail::from_bits(static_cast<std::int32_t>(std::uint32_t{bits} << 16));
  }
};

}  // namespace spankey
