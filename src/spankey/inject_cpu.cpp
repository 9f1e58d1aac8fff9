// The CPU implementation of spankey::inject: float32 by instruction set, chosen at run time; float64 (tests, analyses)
// by plain loops. Every element is computed on its own, so the number of threads cannot change a bit.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/library.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <memory>
#include <vector>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "base/error.h"
#include "spankey/cpu_level.h"
#include "spankey/inject_op.h"

namespace spankey {
namespace {

// One pass of the batch: rows of the dense (rows, d) matrices h and out.
struct InjectPart {
  const float* h;
  float* out;
  const float* coefficients;  // (rows or 1, m), or without a basis (rows or 1, d)
  const float* basis;         // (m, d) or null
  std::int64_t m;
  std::int64_t d;
  float gamma;
  bool shared;  // one row of coefficients for all rows
  bool multiply;
};

struct Rectangle {
  std::int64_t row_begin, row_end, column_begin, column_end;
};

constexpr std::int64_t scratch_columns = 2048;  // widest block of columns

#if defined(__x86_64__)
namespace avx512 {
#define SPANKEY_TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma")))
#define SPANKEY_WIDTH 16
#include "spankey/inject_kernel.inc"
#undef SPANKEY_TARGET
#undef SPANKEY_WIDTH
#undef SPANKEY_INLINE
}  // namespace avx512
namespace avx2 {
#define SPANKEY_TARGET __attribute__((target("avx2,fma")))
#define SPANKEY_WIDTH 8
#include "spankey/inject_kernel.inc"
#undef SPANKEY_TARGET
#undef SPANKEY_WIDTH
#undef SPANKEY_INLINE
}  // namespace avx2
#endif
namespace plain {
#define SPANKEY_TARGET
#define SPANKEY_WIDTH 4
#include "spankey/inject_kernel.inc"
#undef SPANKEY_TARGET
#undef SPANKEY_WIDTH
#undef SPANKEY_INLINE
}  // namespace plain

using Kernel = void (*)(const InjectPart&, Rectangle, float*);

Kernel kernel_of(CpuLevel level) {
#if defined(__x86_64__)
  if (level == CpuLevel::avx512) return avx512::inject_rectangle;
  if (level == CpuLevel::avx2) return avx2::inject_rectangle;
#endif
  return plain::inject_rectangle;
}

// The calling thread's buffer of `size` floats, on a cache line: whole registers read from it must not straddle two.
float* aligned_scratch(std::int64_t size) {
  constexpr std::size_t line = 64;
  thread_local std::vector<std::byte> buffer;
  std::size_t space = static_cast<std::size_t>(size) * sizeof(float) + line;
  buffer.resize(std::max(buffer.size(), space));
  void* start = buffer.data();
  return static_cast<float*>(std::align(line, space - line, start, space));
}

// Blocks of columns whose part of the basis stays in the first- or second-level cache, times groups of rows.
void inject_float(const InjectPart& part, std::int64_t rows) {
  const Kernel kernel = kernel_of(cpu_level());
  const std::int64_t m = part.basis ? part.m : 1;
  const std::int64_t block = std::clamp<std::int64_t>(16384 / m / 64 * 64, 64, scratch_columns);
  constexpr std::int64_t group = 32;
  const std::int64_t blocks = (part.d + block - 1) / block;
  const std::int64_t groups = (rows + group - 1) / group;
  const std::int64_t grain = std::max<std::int64_t>(1, 16384 / (std::min(block, part.d) * std::min(group, rows)));
  at::parallel_for(0, blocks * groups, grain, [&](std::int64_t begin, std::int64_t end) {
    float* scratch = aligned_scratch(scratch_columns + m * block);
    for (std::int64_t item = begin; item < end; ++item) {
      const std::int64_t row = item % groups * group, column = item / groups * block;
      kernel(part, {row, std::min(row + group, rows), column, std::min(column + block, part.d)}, scratch);
    }
  });
}

void inject_double(const at::Tensor& h, const at::Tensor& out, const at::Tensor& coefficients, const at::Tensor& basis,
                   double gamma, bool multiply) {
  const std::int64_t d = h.size(1), m = coefficients.size(1);
  const double* alpha = coefficients.const_data_ptr<double>();
  const double* columns = basis.numel() ? basis.const_data_ptr<double>() : nullptr;
  const double* in = h.const_data_ptr<double>();
  double* result = out.mutable_data_ptr<double>();
  const bool shared = coefficients.size(0) == 1;
  at::parallel_for(0, h.size(0), 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      const double* a = alpha + (shared ? 0 : row) * m;
      for (std::int64_t c = 0; c < d; ++c) {
        double k = columns ? 0.0 : a[c];
        for (std::int64_t q = 0; columns && q < m; ++q) k += a[q] * columns[q * d + c];
        const double x = in[row * d + c];
        result[row * d + c] =
            multiply ? x * std::clamp(1.0 + gamma * std::tanh(k), multiplier_low, multiplier_high) : x + gamma * k;
      }
    }
  });
}

void check_part(const at::Tensor& h, const at::Tensor& coefficients, const at::Tensor& basis, std::int64_t rows,
                std::int64_t d) {
  SPANKEY_CHECK(coefficients.dim() == 2 && coefficients.is_contiguous() && coefficients.dtype() == h.dtype());
  SPANKEY_CHECK(coefficients.size(0) == 1 || coefficients.size(0) == rows);
  if (basis.numel() == 0) {
    SPANKEY_CHECK_EQ(coefficients.size(1), d);
    return;
  }
  SPANKEY_CHECK(basis.dim() == 2 && basis.is_contiguous() && basis.dtype() == h.dtype());
  SPANKEY_CHECK_EQ(basis.size(0), coefficients.size(1));
  SPANKEY_CHECK_EQ(basis.size(1), d);
}

void inject_part(const at::Tensor& h, const at::Tensor& out, const at::Tensor& coefficients, const at::Tensor& basis,
                 double gamma, bool multiply) {
  const std::int64_t rows = h.size(0), d = h.size(1);
  if (h.numel() == 0) return;
  if (coefficients.numel() == 0) {
    out.copy_(h);
    return;
  }
  check_part(h, coefficients, basis, rows, d);
  if (h.scalar_type() == at::kDouble) return inject_double(h, out, coefficients, basis, gamma, multiply);
  SPANKEY_CHECK(h.scalar_type() == at::kFloat);
  inject_float({.h = h.const_data_ptr<float>(),
                .out = out.mutable_data_ptr<float>(),
                .coefficients = coefficients.const_data_ptr<float>(),
                .basis = basis.numel() ? basis.const_data_ptr<float>() : nullptr,
                .m = coefficients.size(1),
                .d = d,
                .gamma = static_cast<float>(gamma),
                .shared = coefficients.size(0) == 1 && rows > 1,
                .multiply = multiply},
               rows);
}

// The dense memory of `h` as (n, d), whatever its memory format.
at::Tensor as_matrix(const at::Tensor& h) {
  if (h.dim() == 2) return h;
  const std::int64_t d = h.size(0) ? h.numel() / h.size(0) : 0;
  return h.as_strided({h.size(0), d}, {d, 1});
}

at::Tensor inject_cpu(const at::Tensor& h, at::TensorList coefficients, at::TensorList bases, at::IntArrayRef rows,
                      double gamma, bool multiply) {
  SPANKEY_CHECK(h.is_contiguous() || (h.dim() == 4 && h.is_contiguous(at::MemoryFormat::ChannelsLast)));
  SPANKEY_CHECK_EQ(coefficients.size(), rows.size());
  SPANKEY_CHECK_EQ(bases.size(), rows.size());
  at::Tensor out = at::empty_like(h);
  const at::Tensor in = as_matrix(h), result = as_matrix(out);
  if (rows.size() == 1 && rows[0] == h.size(0)) {  // the common case; views would take longer than a small batch
    inject_part(in, result, coefficients[0], bases[0], gamma, multiply);
    return out;
  }
  std::int64_t first = 0;
  for (std::size_t p = 0; p < rows.size(); first += rows[p], ++p)
    inject_part(in.narrow(0, first, rows[p]), result.narrow(0, first, rows[p]), coefficients[p], bases[p], gamma,
                multiply);
  SPANKEY_CHECK_EQ(first, h.size(0));
  return out;
}

TORCH_LIBRARY_IMPL(spankey, CPU, library) {
  library.impl("inject", inject_cpu);
}

}  // namespace
}  // namespace spankey
