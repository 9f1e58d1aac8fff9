// The CPU implementation of spankey::inject: float32 by instruction set, chosen at run time; float64 (tests, analyses)
// by plain loops. Every element is computed on its own, so the number of threads cannot change a bit.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/library.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <tuple>
#include <type_traits>
#include <vector>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "base/error.h"
#include "spankey/ops/cpu_level.h"
#include "spankey/ops/inject_op.h"

namespace spankey {
namespace {

// One pass of the batch: rows of the dense (rows, d) matrices h and out.
struct InjectPart {
  const float* h;
  float* out;
  float* factors;             // (rows or 1, d) to keep the multiplier in, or null
  const float* coefficients;  // (rows or 1, m), or without a basis (rows or 1, d)
  const float* basis;         // (m, d) or null
  std::int64_t m;
  std::int64_t d;
  float gamma;
  bool shared;  // one row of coefficients for all rows
  bool past;    // results go past the caches; rows begin on cache lines
  InjectMode mode;
};

struct Rectangle {
  std::int64_t row_begin, row_end, column_begin, column_end;
};

constexpr std::int64_t scratch_columns = 2048;  // widest block of columns

#define SPANKEY_KERNELS "spankey/ops/inject_kernel.inc"
#include "spankey/ops/simd_levels.inc"
#undef SPANKEY_KERNELS

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
  const auto kernel = at_level(avx512::inject_rectangle, avx2::inject_rectangle, plain::inject_rectangle);
  const std::int64_t m = part.basis ? part.m : 1;
  const std::int64_t block = std::clamp<std::int64_t>(16384 / m / 64 * 64, 64, scratch_columns);
  constexpr std::int64_t group = 64;
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

double multiplier(InjectMode mode, double gamma, double k) {
  switch (mode) {
    case InjectMode::clamp:
      return std::clamp(1.0 + gamma * std::tanh(k), multiplier_low, multiplier_high);
    case InjectMode::exp:
      return std::exp(gamma * std::tanh(k));
    case InjectMode::sym:
      return 1.0 + gamma * std::tanh(k);
    case InjectMode::sign:
      return std::tanh(sign_slope * k);
    default:
      return k;
  }
}

struct DoublePart {
  const double* h;
  double* out;
  double* factors;
  const double* coefficients;
  const double* basis;
  std::int64_t m, d;
  double gamma;
  bool shared;
  InjectMode mode;
};

void inject_double(const DoublePart& p, std::int64_t rows) {
  at::parallel_for(0, rows, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      const double* a = p.coefficients + (p.shared ? 0 : row) * p.m;
      for (std::int64_t c = 0; c < p.d; ++c) {
        double k = p.basis ? 0.0 : a[c];
        for (std::int64_t q = 0; p.basis && q < p.m; ++q) k += a[q] * p.basis[q * p.d + c];
        const std::int64_t here = row * p.d + c;
        if (p.mode == InjectMode::add) {
          p.out[here] = p.h[here] + p.gamma * k;
          continue;
        }
        const double s = multiplier(p.mode, p.gamma, k);
        if (p.factors && (!p.shared || row == 0)) p.factors[here] = s;
        p.out[here] = p.h[here] * s;
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

bool on_cache_line(const void* p) {
  return reinterpret_cast<std::uintptr_t>(p) % 64 == 0;
}

template <class Part>
Part make_part(const at::Tensor& h, const at::Tensor& out, at::Tensor* factors, const at::Tensor& coefficients,
               const at::Tensor& basis, double gamma, InjectMode mode) {
  using T = std::remove_const_t<std::remove_pointer_t<decltype(Part::h)>>;
  Part part{};
  part.h = h.const_data_ptr<T>();
  part.out = out.mutable_data_ptr<T>();
  part.factors = factors ? factors->mutable_data_ptr<T>() : nullptr;
  part.coefficients = coefficients.const_data_ptr<T>();
  part.basis = basis.numel() ? basis.const_data_ptr<T>() : nullptr;
  part.m = coefficients.size(1);
  part.d = h.size(1);
  part.gamma = static_cast<T>(effective_gamma(mode, gamma));
  part.shared = coefficients.size(0) == 1 && h.size(0) > 1;
  part.mode = mode;
  return part;
}

// Results go to `out`, and the multiplier to *factors unless that is null.
void inject_part(const at::Tensor& h, const at::Tensor& out, at::Tensor* factors, const at::Tensor& coefficients,
                 const at::Tensor& basis, double gamma, InjectMode mode) {
  const std::int64_t rows = h.size(0), d = h.size(1);
  if (coefficients.numel() == 0 || h.numel() == 0) {
    if (factors) *factors = at::empty({0}, h.options());
    if (h.numel()) out.copy_(h);
    return;
  }
  check_part(h, coefficients, basis, rows, d);
  if (factors) *factors = at::empty({coefficients.size(0), d}, h.options());
  if (h.scalar_type() == at::kDouble)
    return inject_double(make_part<DoublePart>(h, out, factors, coefficients, basis, gamma, mode), rows);
  SPANKEY_CHECK(h.scalar_type() == at::kFloat);
  auto part = make_part<InjectPart>(h, out, factors, coefficients, basis, gamma, mode);
  part.past = rows * d >= larger_than_cache_elements && d % 16 == 0 && on_cache_line(part.out);
  inject_float(part, rows);
}

// The dense memory of `h` as (n, d), whatever its memory format.
at::Tensor as_matrix(const at::Tensor& h) {
  if (h.dim() == 2) return h;
  const std::int64_t d = h.size(0) ? h.numel() / h.size(0) : 0;
  return h.as_strided({h.size(0), d}, {d, 1});
}

// `factors`: null, or as many as there are parts.
at::Tensor inject_parts(const at::Tensor& h, at::TensorList coefficients, at::TensorList bases, at::IntArrayRef rows,
                        double gamma, InjectMode mode, at::Tensor* factors) {
  SPANKEY_CHECK(h.is_contiguous() || (h.dim() == 4 && h.is_contiguous(at::MemoryFormat::ChannelsLast)));
  SPANKEY_CHECK_EQ(coefficients.size(), rows.size());
  SPANKEY_CHECK_EQ(bases.size(), rows.size());
  at::Tensor out = at::empty_like(h);
  const at::Tensor in = as_matrix(h), result = as_matrix(out);
  if (rows.size() == 1 && rows[0] == h.size(0)) {  // the common case; views would take longer than a small batch
    inject_part(in, result, factors, coefficients[0], bases[0], gamma, mode);
    return out;
  }
  std::int64_t first = 0;
  for (std::size_t p = 0; p < rows.size(); first += rows[p], ++p)
    inject_part(in.narrow(0, first, rows[p]), result.narrow(0, first, rows[p]), factors ? factors + p : nullptr,
                coefficients[p], bases[p], gamma, mode);
  SPANKEY_CHECK_EQ(first, h.size(0));
  return out;
}

at::Tensor inject_cpu(const at::Tensor& h, at::TensorList coefficients, at::TensorList bases, at::IntArrayRef rows,
                      double gamma, std::int64_t mode) {
  return inject_parts(h, coefficients, bases, rows, gamma, static_cast<InjectMode>(mode), nullptr);
}

std::tuple<at::Tensor, std::vector<at::Tensor>> inject_keeping_cpu(const at::Tensor& h, at::TensorList coefficients,
                                                                   at::TensorList bases, at::IntArrayRef rows,
                                                                   double gamma, std::int64_t mode) {
  std::vector<at::Tensor> factors(rows.size());
  const auto out = inject_parts(h, coefficients, bases, rows, gamma, static_cast<InjectMode>(mode), factors.data());
  return {out, factors};
}

TORCH_LIBRARY_IMPL(spankey, CPU, library) {
  library.impl("inject", inject_cpu);
  library.impl("inject_keeping", inject_keeping_cpu);
}

}  // namespace
}  // namespace spankey
