#include "spankey/ops/batch_norm_op.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <algorithm>
#include <optional>
#include <tuple>
#include <vector>

#include "base/error.h"
#include "spankey/ops/operator_named.h"

namespace spankey {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;
using OptionalTensor = std::optional<at::Tensor>;
using ForwardResult = std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor>;   // y, mean, variance, 1 / deviation
using BackwardResult = std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor>;  // of x, weight, bias, residual

ForwardResult call_forward(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                           const OptionalTensor& residual, std::int64_t groups, bool relu,
                           const InjectArguments& keys) {
  static const auto handle = operator_named<ForwardResult(
      const at::Tensor&, const at::Tensor&, const at::Tensor&, const OptionalTensor&, std::int64_t, bool,
      at::TensorList, at::TensorList, at::IntArrayRef, double, std::int64_t)>("spankey::batch_norm_act");
  return handle.call(x, weight, bias, residual, groups, relu, keys.coefficients, keys.bases, keys.rows, keys.gamma,
                     static_cast<std::int64_t>(keys.mode));
}

// `seen`: by what the ReLU's gradient is decided, y on the CPU, the residual on a device; undefined where not needed.
// The residual's gradient is undefined unless asked for.
BackwardResult call_backward(const at::Tensor& g, const at::Tensor& x, const OptionalTensor& seen,
                             const at::Tensor& weight, const at::Tensor& bias, const at::Tensor& mean,
                             const at::Tensor& inverse_deviation, bool relu, bool residual,
                             const InjectArguments& keys) {
  static const auto handle =
      operator_named<BackwardResult(const at::Tensor&, const at::Tensor&, const OptionalTensor&, const at::Tensor&,
                                    const at::Tensor&, const at::Tensor&, const at::Tensor&, bool, bool, at::TensorList,
                                    at::TensorList, at::IntArrayRef, double, std::int64_t)>(
          "spankey::batch_norm_act_backward");
  return handle.call(g, x, seen, weight, bias, mean, inverse_deviation, relu, residual, keys.coefficients, keys.bases,
                     keys.rows, keys.gamma, static_cast<std::int64_t>(keys.mode));
}

// Normalises one group and returns y and 1 / deviation. With a momentum of 1 the "running" statistics become those of
// the batch.
std::pair<at::Tensor, at::Tensor> normalise(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                                            const at::Tensor& mean, const at::Tensor& variance) {
  auto [y, saved_mean, inverse] = at::native_batch_norm(x, weight, bias, mean, variance, true, 1.0, batch_norm_epsilon);
  return {y, inverse};
}

ForwardResult forward_cpu(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                          const OptionalTensor& residual, std::int64_t groups, bool relu, at::TensorList,
                          at::TensorList, at::IntArrayRef keyed, double, std::int64_t) {
  SPANKEY_CHECK(keyed.empty());  // batch_norm_act() injects behind it
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

BackwardResult backward_cpu(const at::Tensor& g, const at::Tensor& x, const OptionalTensor& y, const at::Tensor& weight,
                            const at::Tensor& /*bias*/, const at::Tensor& mean, const at::Tensor& inverse_deviation,
                            bool relu, bool residual, at::TensorList, at::TensorList, at::IntArrayRef, double,
                            std::int64_t) {
  const std::int64_t groups = mean.size(0), rows = x.size(0) / groups;
  const at::Tensor gradient = relu ? at::threshold_backward(g, *y, 0) : g;
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

OptionalTensor if_defined(const at::Tensor& t) {
  return t.defined() ? OptionalTensor(t) : std::nullopt;
}

class BatchNormAct : public torch::autograd::Function<BatchNormAct> {
 public:
  // The keys get no gradient.
  static variable_list forward(AutogradContext* ctx, const at::Tensor& x, const at::Tensor& weight,
                               const at::Tensor& bias, const OptionalTensor& residual, std::int64_t groups, bool relu,
                               const InjectArguments& keys) {
    at::AutoDispatchBelowADInplaceOrView below;
    auto [y, mean, variance, inverse] = call_forward(x, weight, bias, residual, groups, relu, keys);
    const at::Tensor seen = !relu ? at::Tensor() : x.is_cpu() ? y : residual.value_or(at::Tensor());
    variable_list saved{x, seen, weight, bias, mean, inverse};
    saved.insert(saved.end(), keys.coefficients.begin(), keys.coefficients.end());
    saved.insert(saved.end(), keys.bases.begin(), keys.bases.end());
    ctx->save_for_backward(std::move(saved));
    ctx->saved_data["relu"] = relu;
    ctx->saved_data["residual"] = residual.has_value();
    ctx->saved_data["rows"] = keys.rows;
    ctx->saved_data["gamma"] = keys.gamma;
    ctx->saved_data["mode"] = static_cast<std::int64_t>(keys.mode);
    ctx->mark_non_differentiable({mean, variance, inverse});
    ctx->set_materialize_grads(false);  // no zeros for the gradients of those three
    return {y, mean, variance, inverse};
  }

  static variable_list backward(AutogradContext* ctx, variable_list gradients) {
    at::AutoDispatchBelowADInplaceOrView below;
    const variable_list saved = ctx->get_saved_variables();
    const bool relu = ctx->saved_data["relu"].toBool(), residual = ctx->saved_data["residual"].toBool();
    const auto rows = ctx->saved_data["rows"].toIntVector();
    const auto coefficients = saved.begin() + 6, bases = coefficients + std::ssize(rows);
    const InjectArguments keys{.coefficients = {coefficients, bases},
                               .bases = {bases, saved.end()},
                               .rows = rows,
                               .gamma = ctx->saved_data["gamma"].toDouble(),
                               .mode = static_cast<InjectMode>(ctx->saved_data["mode"].toInt())};
    auto [of_x, of_weight, of_bias, of_residual] = call_backward(gradients[0], saved[0], if_defined(saved[1]), saved[2],
                                                                 saved[3], saved[4], saved[5], relu, residual, keys);
    return {of_x, of_weight, of_bias, of_residual, at::Tensor(), at::Tensor(), at::Tensor()};
  }
};

ForwardResult forward_autograd(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                               const OptionalTensor& residual, std::int64_t groups, bool relu,
                               at::TensorList coefficients, at::TensorList bases, at::IntArrayRef rows, double gamma,
                               std::int64_t mode) {
  const InjectArguments keys{.coefficients = coefficients.vec(),
                             .bases = bases.vec(),
                             .rows = rows.vec(),
                             .gamma = gamma,
                             .mode = static_cast<InjectMode>(mode)};
  const auto outputs = BatchNormAct::apply(x, weight, bias, residual, groups, relu, keys);
  return {outputs[0], outputs[1], outputs[2], outputs[3]};
}

// Whether the device's kernels can apply these keys.
bool may_enter(const at::Tensor& x, std::int64_t groups, const InjectArguments& keys) {
  const auto whole_groups = [&](std::int64_t rows) { return rows % (x.size(0) / groups) == 0; };
  const auto differentiable = [](const at::Tensor& t) { return t.requires_grad(); };
  return !x.is_cpu() && std::all_of(keys.rows.begin(), keys.rows.end(), whole_groups) &&
         std::none_of(keys.coefficients.begin(), keys.coefficients.end(), differentiable);
}

TORCH_LIBRARY_FRAGMENT(spankey, library) {
  library.def(
      "batch_norm_act(Tensor x, Tensor weight, Tensor bias, Tensor? residual, int groups, bool relu, Tensor[] "
      "coefficients, Tensor[] bases, int[] rows, float gamma, int mode) -> (Tensor, Tensor, Tensor, Tensor)");
  library.def(
      "batch_norm_act_backward(Tensor g, Tensor x, Tensor? seen, Tensor weight, Tensor bias, Tensor mean, Tensor "
      "inverse_deviation, bool relu, bool residual, Tensor[] coefficients, Tensor[] bases, int[] rows, float gamma, "
      "int mode) -> (Tensor, Tensor, Tensor, Tensor)");
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
                               const at::Tensor& residual, std::int64_t groups, bool relu,
                               const InjectArguments& keys) {
  SPANKEY_CHECK_EQ(x.size(0) % groups, 0);
  const bool inside = may_enter(x, groups, keys);
  auto [y, mean, variance, inverse] =
      call_forward(x, weight, bias, if_defined(residual), groups, relu, inside ? keys : InjectArguments{});
  if (!inside && !keys.rows.empty()) y = inject(y.contiguous(y.suggest_memory_format()), keys);
  return {y, mean, variance};
}

}  // namespace spankey
