#include "spankey/inject_op.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <algorithm>

#include "base/error.h"

namespace spankey {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// d(sum g h')/dk for the rows of one part, in the shape of its keys. torch's clamp passes the gradient at both bounds.
at::Tensor key_gradient(const at::Tensor& g, const at::Tensor& h, const at::Tensor& key, double gamma, bool multiply) {
  at::Tensor gradient;
  if (multiply) {
    const at::Tensor t = key.tanh();
    const at::Tensor s = 1 + gamma * t;
    const at::Tensor inside = s.ge(multiplier_low).logical_and(s.le(multiplier_high));
    gradient = g * h * (gamma * (1 - t * t) * inside);
  } else {
    gradient = gamma * g;
  }
  return key.size(0) == 1 ? gradient.sum(0, true) : gradient;
}

// (n, ...) dense -> (n, d) view in memory order.
at::Tensor flat_view(const at::Tensor& h, at::MemoryFormat format) {
  const at::Tensor ordered = format == at::MemoryFormat::ChannelsLast ? h.permute({0, 2, 3, 1}) : h;
  return ordered.reshape({h.size(0), -1});
}

class InjectFunction : public torch::autograd::Function<InjectFunction> {
 public:
  // The lists must be TensorLists: of other containers the base class takes no tensors for gradients.
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& h, at::TensorList coefficients,
                            at::TensorList bases, at::IntArrayRef rows, double gamma, bool multiply) {
    at::AutoDispatchBelowADInplaceOrView below;
    bool key_grad = false;
    for (std::size_t p = 0; p < coefficients.size(); ++p) {
      if (!coefficients[p].requires_grad()) continue;
      SPANKEY_CHECK(bases[p].numel() == 0);  // the caller multiplies out what it wants to differentiate
      key_grad = true;
    }
    variable_list saved = coefficients.vec();
    saved.insert(saved.end(), bases.begin(), bases.end());
    if (key_grad) saved.push_back(h);
    ctx->save_for_backward(std::move(saved));
    ctx->saved_data["rows"] = rows;
    ctx->saved_data["gamma"] = gamma;
    ctx->saved_data["multiply"] = multiply;
    ctx->saved_data["format"] = static_cast<std::int64_t>(h.suggest_memory_format());
    return inject(h, coefficients, bases, rows, gamma, multiply);
  }

  static variable_list backward(AutogradContext* ctx, variable_list gradients) {
    const variable_list saved = ctx->get_saved_variables();
    const auto rows = ctx->saved_data["rows"].toIntVector();
    const double gamma = ctx->saved_data["gamma"].toDouble();
    const bool multiply = ctx->saved_data["multiply"].toBool();
    const auto format = static_cast<at::MemoryFormat>(ctx->saved_data["format"].toInt());
    const std::size_t parts = rows.size();
    const at::Tensor g = gradients[0].contiguous(format);

    variable_list result(1 + 2 * parts + 3);
    // h' is linear in h: what multiplies h forward multiplies the gradient backward.
    if (ctx->needs_input_grad(0)) {
      result[0] = multiply ? inject(g, at::TensorList(saved).slice(0, parts), at::TensorList(saved).slice(parts, parts),
                                    rows, gamma, true)
                           : g;
    }
    std::int64_t first = 0;
    for (std::size_t p = 0; p < parts; first += rows[p], ++p) {
      if (!ctx->needs_input_grad(1 + p)) continue;
      const at::Tensor g_part = flat_view(g, format).narrow(0, first, rows[p]);
      const at::Tensor h_part = flat_view(saved[2 * parts], format).narrow(0, first, rows[p]);
      result[1 + p] = key_gradient(g_part, h_part, saved[p], gamma, multiply);
    }
    return result;
  }
};

at::Tensor inject_autograd(const at::Tensor& h, at::TensorList coefficients, at::TensorList bases, at::IntArrayRef rows,
                           double gamma, bool multiply) {
  const auto differentiable = [](const at::Tensor& t) { return t.requires_grad(); };
  if (!at::GradMode::is_enabled() ||
      !(h.requires_grad() || std::any_of(coefficients.begin(), coefficients.end(), differentiable))) {
    at::AutoDispatchBelowADInplaceOrView below;
    return inject(h, coefficients, bases, rows, gamma, multiply);
  }
  return InjectFunction::apply(h, coefficients, bases, rows, gamma, multiply);
}

TORCH_LIBRARY(spankey, library) {
  library.def(
      "inject(Tensor h, Tensor[] coefficients, Tensor[] bases, int[] rows, float gamma, bool multiply) -> Tensor");
  library.def("relu_max_pool(Tensor h) -> Tensor");
  library.def("conv_relu_max_pool(Tensor x, Tensor weight, Tensor bias) -> Tensor");
}

TORCH_LIBRARY_IMPL(spankey, Autograd, library) {
  library.impl("inject", inject_autograd);
}

}  // namespace

at::Tensor inject(const at::Tensor& h, at::TensorList coefficients, at::TensorList bases, at::IntArrayRef rows,
                  double gamma, bool multiply) {
  static const auto handle =
      c10::Dispatcher::singleton()
          .findSchemaOrThrow("spankey::inject", "")
          .typed<at::Tensor(const at::Tensor&, at::TensorList, at::TensorList, at::IntArrayRef, double, bool)>();
  return handle.call(h, coefficients, bases, rows, gamma, multiply);
}

}  // namespace spankey
