// The operator spankey::inject. Its CPU implementation is inject_cpu.cpp; a device module adds its own to the
// dispatcher.
#pragma once

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cstdint>
#include <vector>

namespace spankey {

constexpr double multiplier_low = 0.1;
constexpr double multiplier_high = 2.0;
constexpr double sym_limit = 0.9;

// An activation of so many elements has left the caches before anything reads it again.
constexpr std::int64_t larger_than_cache_elements = 4 << 20;

// h' of activation h and key k, element by element.
enum class InjectMode : std::int64_t {
  add,      // h + gamma k
  clamp,    // h * clamp(1 + gamma tanh k, multiplier_low, multiplier_high)
  exp,      // h * exp(gamma tanh k), the exponent within +-126 ln 2
  sym,      // h * (1 + min(gamma, sym_limit) tanh k)
  product,  // h * k: k is the multiplier itself
};

// The gamma that a mode works with.
inline double effective_gamma(InjectMode mode, double gamma) {
  return mode == InjectMode::sym ? std::min(gamma, sym_limit) : gamma;
}

// One batch of several passes. Part p is the next rows[p] rows of `h` and has
//   coefficients[p] (rows or 1, m) and bases[p] (m, d): keys coefficients * basis, or
//   coefficients[p] (rows or 1, d) and an empty bases[p]: the keys themselves, or
//   an empty coefficients[p]: no key.
// d = elements of one sample; keys and basis columns in the order of h's memory, which is dense, and of h's type, or
// float32 where h is bfloat16 (on a GPU only): what enters is computed in float32 and rounded once. Differentiable in h
// and in whole keys. For the way back the CPU keeps the multiplier where m is large and it fits into the caches;
// otherwise it is formed again.
at::Tensor inject(const at::Tensor& h, at::TensorList coefficients, at::TensorList bases, at::IntArrayRef rows,
                  double gamma, InjectMode mode);

// The arguments of inject() besides h; no parts: no key anywhere.
struct InjectArguments {
  std::vector<at::Tensor> coefficients = {}, bases = {};
  std::vector<std::int64_t> rows = {};
  double gamma = 0.0;
  InjectMode mode = InjectMode::add;
};

inline at::Tensor inject(const at::Tensor& h, const InjectArguments& keys) {
  return inject(h, keys.coefficients, keys.bases, keys.rows, keys.gamma, keys.mode);
}

}  // namespace spankey
