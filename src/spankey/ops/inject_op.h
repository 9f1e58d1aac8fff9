// The operator spankey::inject. Its CPU implementation is inject_cpu.cpp. The CUDA module adds its own to the
// dispatcher.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "spankey/ops/inject_mode.h"

namespace spankey {

// An activation of more elements than this is evicted from the caches before it is read again.
constexpr std::int64_t larger_than_cache_elements = 4 << 20;

// Injects keys into one batch of several passes. Part p is the next rows[p] rows of `h`. It has one of these.
//   - coefficients[p] (rows or 1, m) and bases[p] (m, d), which give keys coefficients * basis
//   - coefficients[p] (rows or 1, d) and an empty bases[p], where the coefficients are the keys themselves
//   - an empty coefficients[p] for no key
// d is the number of elements of one sample. Keys and basis columns are in the order of h's memory, which is dense.
// They have h's type, or float32 where h is bfloat16 (on a GPU only), and then the result is computed in float32 and
// rounded once. Differentiable in h and in whole keys. For the backward pass the CPU keeps the multiplier where m is
// large and it fits into the caches, and otherwise forms it again.
at::Tensor inject(const at::Tensor& h, at::TensorList coefficients, at::TensorList bases, at::IntArrayRef rows,
                  double gamma, InjectMode mode);

// The arguments of inject() besides h. No parts means no key anywhere.
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
