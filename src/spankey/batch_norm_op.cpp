#include "spankey/batch_norm_op.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <optional>
#include <tuple>
#include <vector>

#include "base/error.h"

namespace spankey {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;
using OptionalTensor = std::optional<at::Tensor>;
using ForwardResult = std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor>;   // y, mean, variance, 1 / deviation
using BackwardResult = std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor>;  // of x, weight, bias, residual

ForwardResult call_forward(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                           const OptionalTensor& residual, std::int64_t groups, bool relu) {
  static const auto handle = c10::Dispatcher::singleton()
                                 .findSchemaOrThrow("spankey::batch_norm_act", "")
                                 .typed<ForwardResult(const at::Tensor&, const at::Tensor&, const at::Tensor&,
                                                      const OptionalTensor&, std::int64_t, bool)>();
  return handle.call(x, weight, bias, residual, groups, relu);
}

// `y` is looked at only with `relu`; the residual's gradient is undefined unless asked for.
BackwardResult call_backward(const at::Tensor& g, const at::Tensor& x, const at::Tensor& y, const at::Tensor& weight,
                             const at::Tensor& mean, const at::Tensor& inverse_deviation, bool relu, bool residual) {
  static const auto handle =
      c10::Dispatcher::singleton()
          .findSchemaOrThrow("spankey::batch_norm_act_backward", "")
          .typed<BackwardResult(const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Tensor&,
                                const at::Tensor&, const at::Tensor&, bool, bool)>();
  return handle.call(g, x, y, weight, mean, inverse_deviation, relu, residual);
}

// Of one group; with a momentum of 1, "running" statistics are those of the batch. y, 1 / deviation.
std::pair<at::Tensor, at::Tensor> normalise(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                                            const at::Tensor& mean, const at::Tensor& variance) {
  auto [y, saved_mean, inverse] = at::native_batch_norm(x, weight, bias, mean, variance, true, 1.0, batch_norm_epsilon);
  return {y, inverse};
}

ForwardResult forward_cpu(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                          const OptionalTensor& residual, std::int64_t groups, bool relu) {
  const std::int64_t rows = x.size(0) / groups;
  at::Tensor mean = at::zeros({groups, x.size(1)}, weight.options()), variance = at::zeros_like(mean);
  std::vector<at::Tensor> parts, inverses;
  for (std::int64_t i = 0; i < groups; ++i) {
    const at::Tensor group = groups == 1 ? x : x.narrow(0, i * rows, rows);
    auto [part, inverse] = normalise(group, weight, bias, mean[i], variance[i]);
    parts.push_back(std::move(part));
    inverses.push_back(std::move(inverse));
  }
  at::Tensor y = groups == 1 ? parts[0] : at::cat(parts);
  if (residual) y = y + *residual;
  if (relu) y.relu_();
  return {y, mean, variance, at::stack(inverses)};
}

BackwardResult backward_cpu(const at::Tensor& g, const at::Tensor& x, const at::Tensor& y, const at::Tensor& weight,
                            const at::Tensor& mean, const at::Tensor& inverse_deviation, bool relu, bool residual) {
  const std::int64_t groups = mean.size(0), rows = x.size(0) / groups;
  const at::Tensor gradient = relu ? at::threshold_backward(g, y, 0) : g;
  std::vector<at::Tensor> parts;
  at::Tensor of_weight, of_bias;
  for (std::int64_t i = 0; i < groups; ++i) {
    const auto group = [&](const at::Tensor& t) { return groups == 1 ? t : t.narrow(0, i * rows, rows); };
    auto [of_x, more_weight, more_bias] =
        at::native_batch_norm_backward(group(gradient), group(x), weight, std::nullopt, std::nullopt, mean[i],
                                       inverse_deviation[i], true, batch_norm_epsilon, {true, true, true});
    parts.push_back(std::move(of_x));
    of_weight = of_weight.defined() ? of_weight + more_weight : more_weight;
    of_bias = of_bias.defined() ? of_bias + more_bias : more_bias;
  }
  return {groups == 1 ? parts[0] : at::cat(parts), of_weight, of_bias, residual ? gradient : at::Tensor()};
}

class BatchNormAct : public torch::autograd::Function<BatchNormAct> {
 public:
  static variable_list forward(AutogradContext* ctx, const at::Tensor& x, const at::Tensor& weight,
                               const at::Tensor& bias, const OptionalTensor& residual, std::int64_t groups, bool relu) {
    at::AutoDispatchBelowADInplaceOrView below;
    auto [y, mean, variance, inverse] = call_forward(x, weight, bias, residual, groups, relu);
    ctx->save_for_backward({x, relu ? y : at::Tensor(), weight, mean, inverse});
    ctx->saved_data["relu"] = relu;
    ctx->saved_data["residual"] = residual.has_value();
    ctx->mark_non_differentiable({mean, variance, inverse});
    return {y, mean, variance, inverse};
  }

  static variable_list backward(AutogradContext* ctx, variable_list gradients) {
    at::AutoDispatchBelowADInplaceOrView below;
    const variable_list saved = ctx->get_saved_variables();
    const bool relu = ctx->saved_data["relu"].toBool(), residual = ctx->saved_data["residual"].toBool();
    auto [of_x, of_weight, of_bias, of_residual] =
        call_backward(gradients[0], saved[0], relu ? saved[1] : saved[0], saved[2], saved[3], saved[4], relu, residual);
    return {of_x, of_weight, of_bias, of_residual, at::Tensor(), at::Tensor()};
  }
};

ForwardResult forward_autograd(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                               const OptionalTensor& residual, std::int64_t groups, bool relu) {
  const auto outputs = BatchNormAct::apply(x, weight, bias, residual, groups, relu);
  return {outputs[0], outputs[1], outputs[2], outputs[3]};
}

TORCH_LIBRARY_FRAGMENT(spankey, library) {
  library.def(
      "batch_norm_act(Tensor x, Tensor weight, Tensor bias, Tensor? residual, int groups, bool relu) -> (Tensor, "
      "Tensor, Tensor, Tensor)");
  library.def(
      "batch_norm_act_backward(Tensor g, Tensor x, Tensor y, Tensor weight, Tensor mean, Tensor inverse_deviation, "
      "bool relu, bool residual) -> (Tensor, Tensor, Tensor, Tensor)");
}

TORCH_LIBRARY_IMPL(spankey, CPU, library) {
  library.impl("batch_norm_act", forward_cpu);
  library.impl("batch_norm_act_backward", backward_cpu);
}

TORCH_LIBRARY_IMPL(spankey, Autograd, library) {
  library.impl("batch_norm_act", forward_autograd);
}

}  // namespace

NormalisedBatch batch_norm_act(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                               const at::Tensor& residual, std::int64_t groups, bool relu) {
  SPANKEY_CHECK_EQ(x.size(0) % groups, 0);
  auto [y, mean, variance, inverse] =
      call_forward(x, weight, bias, residual.defined() ? OptionalTensor(residual) : std::nullopt, groups, relu);
  return {y, mean, variance};
}

}  // namespace spankey
