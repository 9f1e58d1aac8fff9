#include "spankey/keys/adversarial_key.h"

#include <ATen/ATen.h>

#include <cmath>

#include "base/error.h"
#include "spankey/keys/key_draws.h"

namespace spankey {
namespace {

double norm_of(const at::Tensor& key) {
  const at::Tensor wide = key.to(at::kDouble).contiguous();
  return std::sqrt(key_families::inner_product(wide, wide));
}

}  // namespace

std::vector<at::Tensor> sign_descent(std::vector<at::Tensor> keys, std::int64_t steps, double lr,
                                     const KeyGradient& gradient) {
  std::vector<double> norms;
  for (const at::Tensor& key : keys) norms.push_back(norm_of(key));
  for (std::int64_t step = 0; step < steps; ++step) {
    const auto slopes = gradient(keys);
    SPANKEY_CHECK_EQ(slopes.size(), keys.size());
    for (std::size_t i = 0; i < keys.size(); ++i) {
      const double length = lr * norms[i] / std::sqrt(static_cast<double>(keys[i].numel()));
      const at::Tensor moved = keys[i] - length * slopes[i].sign();
      keys[i] = moved * (norms[i] / norm_of(moved));
    }
  }
  return keys;
}

}  // namespace spankey
