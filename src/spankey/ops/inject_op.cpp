#include "spankey/ops/inject_op.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <algorithm>
#include <tuple>
#include <vector>

#include "base/error.h"
#include "spankey/ops/operator_named.h"

namespace spankey {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

std::int64_t number(InjectMode mode) {
  return static_cast<std::int64_t>(mode);
}

// d(sum g h')/dk for the rows of one part, in the shape of its keys. torch's clamp passes the gradient at both bounds.
at::Tensor key_gradient(const at::Tensor& g, const at::Tensor& h, const at::Tensor& key, double gamma,
                        InjectMode mode) {
  at::Tensor gradient;
  if (mode == InjectMode::add) {
    gradient = gamma * g;
  } else if (mode == InjectMode::product) {
    gradient = g * h;
  } else if (mode == InjectMode::sign) {
    const at::Tensor t = (sign_slope * key).tanh();
    gradient = g * h * (sign_slope * (1 - t * t));
  } else {
    const double strength = effective_gamma(mode, gamma);
    const at::Tensor t = key.tanh();
    at::Tensor slope = strength * (1 - t * t);  // of the multiplier
    if (mode == InjectMode::exp) slope = slope * (strength * t).exp();
    if (mode == InjectMode::clamp) {
      const at::Tensor s = 1 + strength * t;
      slope = slope * s.ge(multiplier_low).logical_and(s.le(multiplier_high));
    }
    gradient = g * h * slope;
  }
  return key.size(0) == 1 ? gradient.sum(0, true) : gradient;
}

// (n, ...) dense -> (n, d) view in memory order.
at::Tensor flat_view(const at::Tensor& h, at::MemoryFormat format) {
  const at::Tensor ordered = format == at::MemoryFormat::ChannelsLast ? h.permute({0, 2, 3, 1}) : h;
  return ordered.reshape({h.size(0), -1});
}

// h' and each part's multiplier, (rows or 1, d); empty where a part has no key. On the CPU only.
std::tuple<at::Tensor, std::vector<at::Tensor>> inject_keeping(const at::Tensor& h, at::TensorList coefficients,
                                                               at::TensorList bases, at::IntArrayRef rows, double gamma,
                                                               InjectMode mode) {
  static const auto handle = operator_named<std::tuple<at::Tensor, std::vector<at::Tensor>>(
      const at::Tensor&, at::TensorList, at::TensorList, at::IntArrayRef, double, std::int64_t)>(
      "spankey::inject_keeping");
  return handle.call(h, coefficients, bases, rows, gamma, number(mode));
}

// Number of basis rows from which forming the multiplier a second time takes longer than writing and reading it, as
// long as it stays in the caches.
constexpr std::int64_t keep_from_rows = 16;

class InjectFunction : public torch::autograd::Function<InjectFunction> {
 public:
  // The lists must be TensorLists, because the base class finds no tensors with gradients in other containers.
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& h, at::TensorList coefficients,
                            at::TensorList bases, at::IntArrayRef rows, double gamma, std::int64_t mode_number) {
    at::AutoDispatchBelowADInplaceOrView below;
    const auto mode = static_cast<InjectMode>(mode_number);
    bool key_grad = false, costly = false;
    for (std::size_t p = 0; p < coefficients.size(); ++p) {
      costly = costly || (bases[p].numel() > 0 && bases[p].size(0) >= keep_from_rows);
      if (!coefficients[p].requires_grad()) continue;
      SPANKEY_CHECK(bases[p].numel() == 0);  // the caller multiplies out what it wants to differentiate
      key_grad = true;
    }
    const bool keep = costly && h.numel() < larger_than_cache_elements && mode != InjectMode::add &&
                      h.requires_grad() && h.is_cpu() && !key_grad;
    ctx->saved_data["rows"] = rows;
    ctx->saved_data["gamma"] = gamma;
    ctx->saved_data["mode"] = keep ? number(InjectMode::product) : mode_number;
    ctx->saved_data["format"] = static_cast<std::int64_t>(h.suggest_memory_format());
    if (keep) {  // h' = h * multiplier from here on
      auto [out, saved] = inject_keeping(h, coefficients, bases, rows, gamma, mode);
      saved.resize(2 * rows.size(), at::empty({0}, h.options()));
      ctx->save_for_backward(std::move(saved));
      return out;
    }
    variable_list saved = coefficients.vec();
    saved.insert(saved.end(), bases.begin(), bases.end());
    if (key_grad) saved.push_back(h);
    ctx->save_for_backward(std::move(saved));
    return inject(h, coefficients, bases, rows, gamma, mode);
  }

  static variable_list backward(AutogradContext* ctx, variable_list gradients) {
    const variable_list saved = ctx->get_saved_variables();
    const auto rows = ctx->saved_data["rows"].toIntVector();
    const double gamma = ctx->saved_data["gamma"].toDouble();
    const auto mode = static_cast<InjectMode>(ctx->saved_data["mode"].toInt());
    const auto format = static_cast<at::MemoryFormat>(ctx->saved_data["format"].toInt());
    const std::size_t parts = rows.size();
    const at::Tensor g = gradients[0].contiguous(format);

    variable_list result(1 + 2 * parts + 3);
    // h' is linear in h, so the multiplier of h is also that of the gradient.
    if (ctx->needs_input_grad(0)) {
      result[0] = mode == InjectMode::add ? g
                                          : inject(g, at::TensorList(saved).slice(0, parts),
                                                   at::TensorList(saved).slice(parts, parts), rows, gamma, mode);
    }
    std::int64_t first = 0;
    for (std::size_t p = 0; p < parts; first += rows[p], ++p) {
      if (!ctx->needs_input_grad(1 + p)) continue;
      const auto type = saved[p].scalar_type();
      const at::Tensor g_part = flat_view(g, format).narrow(0, first, rows[p]).to(type);
      const at::Tensor h_part = flat_view(saved[2 * parts], format).narrow(0, first, rows[p]).to(type);
      result[1 + p] = key_gradient(g_part, h_part, saved[p], gamma, mode);
    }
    return result;
  }
};

at::Tensor inject_autograd(const at::Tensor& h, at::TensorList coefficients, at::TensorList bases, at::IntArrayRef rows,
                           double gamma, std::int64_t mode) {
  const auto differentiable = [](const at::Tensor& t) { return t.requires_grad(); };
  if (!at::GradMode::is_enabled() ||
      !(h.requires_grad() || std::any_of(coefficients.begin(), coefficients.end(), differentiable))) {
    at::AutoDispatchBelowADInplaceOrView below;
    return inject(h, coefficients, bases, rows, gamma, static_cast<InjectMode>(mode));
  }
  return InjectFunction::apply(h, coefficients, bases, rows, gamma, mode);
}

TORCH_LIBRARY(spankey, library) {
  library.def("inject(Tensor h, Tensor[] coefficients, Tensor[] bases, int[] rows, float gamma, int mode) -> Tensor");
  library.def(
      "inject_keeping(Tensor h, Tensor[] coefficients, Tensor[] bases, int[] rows, float gamma, int mode) -> (Tensor, "
      "Tensor[])");
  library.def("relu_max_pool(Tensor h) -> Tensor");
  library.def("conv_relu_max_pool(Tensor x, Tensor weight, Tensor bias) -> Tensor");
}

TORCH_LIBRARY_IMPL(spankey, Autograd, library) {
  library.impl("inject", inject_autograd);
}

}  // namespace

at::Tensor inject(const at::Tensor& h, at::TensorList coefficients, at::TensorList bases, at::IntArrayRef rows,
                  double gamma, InjectMode mode) {
  static const auto handle = operator_named<at::Tensor(const at::Tensor&, at::TensorList, at::TensorList,
                                                       at::IntArrayRef, double, std::int64_t)>("spankey::inject");
  return handle.call(h, coefficients, bases, rows, gamma, number(mode));
}

}  // namespace spankey
