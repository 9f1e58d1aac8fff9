#include "spankey/ops/gram.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <array>

#include "base/error.h"
#include "spankey/ops/draw_body.h"

namespace spankey {
namespace {

struct KeySums {
  double sum, squares;
};

// Sum and sum of squares of the elements of alpha B.
KeySums key_sums(const Gram& gram, const double* alpha) {
  const std::int64_t m = gram.sums.size(0);
  const double* g = gram.products.const_data_ptr<double>();
  const double* s = gram.sums.const_data_ptr<double>();
  KeySums result{0, 0};
  for (std::int64_t i = 0; i < m; ++i) {
    result.squares += draw_body::gram_term(g + i * m, 1, alpha, i, m);
    result.sum += alpha[i] * s[i];
  }
  return result;
}

// All lanes of a sum one after the other, where the device has a thread for each.
constexpr auto host_lanes = [](auto&& lane_sum) {
  std::array<double, draw_body::lanes> sums;
  for (int lane = 0; lane < draw_body::lanes; ++lane) sums[static_cast<std::size_t>(lane)] = lane_sum(lane);
  for (int half = draw_body::lanes / 2; half > 0; half /= 2)
    for (int lane = 0; lane < half; ++lane) draw_body::fold_lane(sums.data(), half, lane);
  return sums[0];
};

at::Tensor checked_alphas(const Gram& gram, const at::Tensor& alphas) {
  SPANKEY_CHECK_EQ(alphas.dim(), 2);
  SPANKEY_CHECK_EQ(alphas.size(1), gram.sums.size(0));
  return alphas.detach().to(at::kCPU, at::kDouble).contiguous();
}

}  // namespace

Gram make_gram(const at::Tensor& basis) {
  const at::Tensor rows = basis.to(at::kCPU, at::kDouble).contiguous();
  const std::int64_t m = rows.size(0), d = rows.size(1);
  Gram gram{at::empty({m, m}, at::kDouble), at::empty({m}, at::kDouble), d};
  const double* b = rows.const_data_ptr<double>();
  double* products = gram.products.mutable_data_ptr<double>();
  double* sums = gram.sums.mutable_data_ptr<double>();
  at::parallel_for(0, m, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      sums[i] = 0;
      for (std::int64_t c = 0; c < d; ++c) sums[i] += b[i * d + c];
      for (std::int64_t j = 0; j <= i; ++j) {
        double sum = 0;
        for (std::int64_t c = 0; c < d; ++c) sum += b[i * d + c] * b[j * d + c];
        products[i * m + j] = products[j * m + i] = sum;
      }
    }
  });
  return gram;
}

SlotGrams slot_grams(const std::vector<Gram>& grams, at::Device device) {
  std::vector<at::Tensor> products, sums;
  std::vector<std::int64_t> widths;
  for (const Gram& gram : grams) {
    products.push_back(gram.products);
    sums.push_back(gram.sums);
    widths.push_back(gram.width);
  }
  return {at::stack(products).to(device), at::stack(sums).to(device), at::tensor(widths, at::kLong).to(device)};
}

double key_std(const Gram& gram, const at::Tensor& alphas, std::int64_t repeats) {
  const at::Tensor rows = checked_alphas(gram, alphas);
  const std::int64_t n = rows.size(0), m = rows.size(1);
  KeySums total{0, 0};
  for (std::int64_t i = 0; i < n; ++i) {
    const KeySums sums = key_sums(gram, rows.const_data_ptr<double>() + i * m);
    total.sum += sums.sum;
    total.squares += sums.squares;
  }
  const auto times = static_cast<double>(repeats);
  return draw_body::unbiased_std(times * total.sum, times * total.squares, times * static_cast<double>(n * gram.width));
}

at::Tensor key_std_rows(const Gram& gram, const at::Tensor& alphas) {
  const at::Tensor rows = checked_alphas(gram, alphas);
  const std::int64_t n = rows.size(0), m = rows.size(1);
  at::Tensor result = at::empty({n}, at::kDouble);
  for (std::int64_t i = 0; i < n; ++i) {
    const KeySums sums = key_sums(gram, rows.const_data_ptr<double>() + i * m);
    result.mutable_data_ptr<double>()[i] =
        draw_body::unbiased_std(sums.sum, sums.squares, static_cast<double>(gram.width));
  }
  return result;
}

double expanded_std(const at::Tensor& key, std::int64_t repeats) {
  const at::Tensor values = key.detach().to(at::kCPU, at::kDouble).contiguous();
  return draw_body::expanded_std(host_lanes, values.const_data_ptr<double>(), values.numel(), repeats);
}

double key_deviation(const at::Tensor& key, std::int64_t repeats) {
  const at::Tensor values = key.detach().to(at::kCPU, at::kDouble).contiguous();
  return draw_body::key_deviation(host_lanes, values.const_data_ptr<double>(), values.numel(), repeats);
}

double rescale_factor(double std, double target) {
  return draw_body::factor_to(std, target);
}

at::Tensor rescale_differentiably(const at::Tensor& key, double target) {
  return target > 0 ? key * (target / key.std().clamp_min(1e-8)) : key;
}

}  // namespace spankey
