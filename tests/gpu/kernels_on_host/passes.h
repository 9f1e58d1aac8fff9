// Keys of every kind for a batch of several passes, and what they do to it, in float64.
#pragma once

#include <ATen/ATen.h>

#include <cmath>
#include <cstdint>
#include <vector>

#include "spankey/ops/inject_op.h"
#include "support.h"

namespace spankey {

constexpr double gamma_of_keys = 0.7;

// h' for keys (rows or 1, d) of one part, in float64.
inline at::Tensor injected(const at::Tensor& h, const at::Tensor& key, InjectMode mode) {
  const double gamma = effective_gamma(mode, gamma_of_keys);
  const at::Tensor t = key.tanh();
  switch (mode) {
    case InjectMode::add:
      return h + gamma * key;
    case InjectMode::clamp:
      return h * (1 + gamma * t).clamp(0.1, 2.0);
    case InjectMode::exp:
      return h * (gamma * t).exp();
    case InjectMode::sym:
      return h * (1 + gamma * t);
    case InjectMode::sign:
      return h * (5 * key).tanh();
    case InjectMode::product:
      return h * key;
  }
  return {};
}

// Coefficients and whole keys, each for every row and for all rows, and no key, `count` rows each.
struct Passes {
  Passes(std::int64_t count, std::int64_t m, std::int64_t d, std::int64_t offset) : rows(5, count) {
    const at::Tensor basis = at_offset(at::randn({m, d}) / std::sqrt(static_cast<double>(m)), offset);
    const at::Tensor none = at::empty({0});
    for (const std::int64_t some : {count, std::int64_t{1}}) {
      coefficients.push_back(at_offset(at::randn({some, m}), offset));
      bases.push_back(basis);
    }
    for (const std::int64_t some : {count, std::int64_t{1}}) {
      coefficients.push_back(at_offset(at::randn({some, d}), offset));
      bases.push_back(none);
    }
    coefficients.push_back(none);
    bases.push_back(none);
  }

  // Returns what the kernels make of h, (5 count, d).
  at::Tensor expected(const at::Tensor& h, InjectMode mode) const {
    std::vector<at::Tensor> parts;
    for (std::size_t p = 0; p < rows.size(); ++p) {
      const at::Tensor part = h.narrow(0, static_cast<std::int64_t>(p) * rows[p], rows[p]).to(at::kDouble);
      const at::Tensor& c = coefficients[p];
      if (c.numel() == 0)
        parts.push_back(part);
      else
        parts.push_back(injected(
            part, bases[p].numel() ? c.to(at::kDouble).matmul(bases[p].to(at::kDouble)) : c.to(at::kDouble), mode));
    }
    return at::cat(parts);
  }

  std::vector<std::int64_t> rows;
  std::vector<at::Tensor> coefficients, bases;
};

}  // namespace spankey
