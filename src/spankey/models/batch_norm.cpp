#include "spankey/models/batch_norm.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include "base/error.h"

namespace spankey {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct SumHolder : torch::CustomClassHolder {
  explicit SumHolder(BatchNorm2d::SumOverRanks its_sum) : sum(std::move(its_sum)) {}
  BatchNorm2d::SumOverRanks sum;
};

// Batches are seen as (groups, n, C, H, W) here, statistics are (groups, C).
at::Tensor in_groups(const at::Tensor& x, std::int64_t groups) {
  return x.view({groups, -1, x.size(1), x.size(2), x.size(3)});
}

at::Tensor per_channel(const at::Tensor& values, const at::Tensor& x) {
  return values.to(x.scalar_type()).view({-1, 1, x.size(2), 1, 1});
}

at::Tensor channel_sums(const at::Tensor& x) {
  return x.sum({1, 3, 4}, false, at::kDouble);
}

// Batch normalisation with the statistics of all ranks' batches. x (groups * n, C, H, W) -> y, and without gradient
// mean and unbiased variance (groups, C) float64. The number of elements is summed over the ranks like everything else
// and never read by the host.
class SyncBatchNorm : public torch::autograd::Function<SyncBatchNorm> {
 public:
  static variable_list forward(AutogradContext* ctx, const at::Tensor& flat_x, const at::Tensor& weight,
                               const at::Tensor& bias, std::int64_t groups, const BatchNorm2d::SumOverRanks& sum) {
    at::AutoDispatchBelowADInplaceOrView below;
    const at::Tensor x = in_groups(flat_x, groups);
    const std::int64_t channels = x.size(2);
    const auto elements = static_cast<double>(x.size(1) * x.size(3) * x.size(4));
    at::Tensor first = at::cat({channel_sums(x).flatten(), at::full({1}, elements, x.options().dtype(at::kDouble))});
    sum(first);
    const at::Tensor count = first.select(0, groups * channels);
    const at::Tensor mean = first.narrow(0, 0, groups * channels).view({groups, channels}) / count;
    // This takes a second pass over the data, because the difference of mean square and squared mean would cancel.
    const at::Tensor centred = x - per_channel(mean, x);
    at::Tensor squares = channel_sums(centred.square());
    sum(squares);
    const at::Tensor scale = (squares / count + BatchNorm2d::epsilon).rsqrt();
    const at::Tensor normal = centred * per_channel(scale, x);
    ctx->save_for_backward({normal, weight, scale, count});
    ctx->saved_data["sum"] = at::IValue::make_capsule(c10::make_intrusive<SumHolder>(sum));
    const at::Tensor variance = squares / (count - 1);
    ctx->mark_non_differentiable({mean, variance});
    return {(normal * per_channel(weight, x) + per_channel(bias, x)).view_as(flat_x), mean, variance};
  }

  static variable_list backward(AutogradContext* ctx, variable_list gradients) {
    at::AutoDispatchBelowADInplaceOrView below;
    const auto saved = ctx->get_saved_variables();
    const at::Tensor &normal = saved[0], &weight = saved[1], &scale = saved[2], &count = saved[3];
    const at::Tensor g = gradients[0].reshape(normal.sizes());
    const at::Tensor mine = at::stack({channel_sums(g), channel_sums(g * normal)});  // (2, groups, C)
    at::Tensor sums = mine.clone();
    static_cast<SumHolder&>(*ctx->saved_data["sum"].toCapsule()).sum(sums);
    const at::Tensor means = sums / count;
    const at::Tensor x_gradient =
        (g - per_channel(means[0], g) - normal * per_channel(means[1], g)) * per_channel(scale * weight, g);
    const at::Tensor of_parameters = mine.sum(1).to(weight.scalar_type());
    return {x_gradient.reshape(gradients[0].sizes()), of_parameters[1], of_parameters[0], at::Tensor(), at::Tensor()};
  }
};

at::Tensor finish(const at::Tensor& y, const at::Tensor& residual, bool relu) {
  const at::Tensor sum = residual.defined() ? y + residual : y;
  return relu ? sum.relu() : sum;
}

}  // namespace

BatchNorm2d::BatchNorm2d(std::int64_t channels) {
  weight = register_parameter("weight", at::ones({channels}));
  bias = register_parameter("bias", at::zeros({channels}));
  running_mean = register_buffer("running_mean", at::zeros({channels}));
  running_var = register_buffer("running_var", at::ones({channels}));
}

at::Tensor BatchNorm2d::forward(const at::Tensor& x, const at::Tensor& residual, bool relu, const KeyedPoint& key) {
  if (!is_training()) {
    const at::Tensor y = at::batch_norm(x, weight, bias, running_mean, running_var, false, momentum, epsilon, false);
    return key.apply(finish(y, residual, relu));
  }
  const NormalisedBatch batch = train(x, residual, relu, key);
  if (recorder_) {
    recorder_({batch.mean, batch.variance});
  } else {
    for (std::int64_t i = 0; i < groups_; ++i)
      average_in({running_mean, running_var}, {batch.mean[i], batch.variance[i]});
  }
  return batch.y;
}

NormalisedBatch BatchNorm2d::train(const at::Tensor& x, const at::Tensor& residual, bool relu,
                                   const KeyedPoint& key) const {
  if (sum_over_ranks_) {
    const at::Tensor wide = x.to(weight.scalar_type());
    const auto outputs = SyncBatchNorm::apply(wide, weight, bias, groups_, sum_over_ranks_);
    return {key.apply(finish(outputs[0].to(x.scalar_type()), residual, relu)), outputs[1], outputs[2]};
  }
  if (x.is_cuda()) {  // its kernels let the key in
    const at::Tensor dense = x.contiguous(at::MemoryFormat::ChannelsLast);
    const InjectArguments keys = key.arguments(dense);
    if (!keys.rows.empty()) return batch_norm_act(dense, weight, bias, residual, groups_, relu, keys);
  }
  NormalisedBatch batch = batch_norm_act(x, weight, bias, residual, groups_, relu);
  batch.y = key.apply(batch.y);
  return batch;
}

void BatchNorm2d::keep_deny_statistics() {
  running_mean_deny = register_buffer("running_mean_deny", at::zeros_like(running_mean));
  running_var_deny = register_buffer("running_var_deny", at::ones_like(running_var));
}

void average_in(const std::vector<at::Tensor>& running, const std::vector<at::Tensor>& values) {
  if (running.empty()) return;
  const at::NoGradGuard no_grad;
  std::vector<at::Tensor> typed;
  typed.reserve(values.size());
  for (const at::Tensor& value : values) typed.push_back(value.to(running[0].scalar_type()));
  // On a device these are few launches for all layers; on the CPU one operation for each tensor.
  at::_foreach_mul_(running, 1 - BatchNorm2d::momentum);
  at::_foreach_add_(running, typed, BatchNorm2d::momentum);
}

std::vector<std::shared_ptr<BatchNorm2d>> batch_norms(torch::nn::Module& network) {
  std::vector<std::shared_ptr<BatchNorm2d>> layers;
  for (const auto& module : network.modules(/*include_self=*/false))
    if (auto layer = std::dynamic_pointer_cast<BatchNorm2d>(module)) layers.push_back(std::move(layer));
  return layers;
}

}  // namespace spankey
