#include "spankey/batch_norm.h"

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

at::Tensor per_channel(const at::Tensor& values, const at::Tensor& x) {
  return values.to(x.scalar_type()).view({1, -1, 1, 1});
}

at::Tensor channel_sums(const at::Tensor& x) {
  return x.sum({0, 2, 3}, false, at::kDouble);
}

// Batch normalisation with the statistics of all ranks' batches. x (n, C, H, W) -> y, and without gradient mean and
// unbiased variance (C) float64.
class SyncBatchNorm : public torch::autograd::Function<SyncBatchNorm> {
 public:
  static variable_list forward(AutogradContext* ctx, const at::Tensor& x, const at::Tensor& weight,
                               const at::Tensor& bias, const BatchNorm2d::SumOverRanks& sum) {
    at::AutoDispatchBelowADInplaceOrView below;
    const std::int64_t channels = x.size(1);
    const auto elements = static_cast<double>(x.size(0) * x.size(2) * x.size(3));
    at::Tensor first = at::cat({channel_sums(x), at::full({1}, elements, at::kDouble)});
    sum(first);
    const double count = first[channels].item<double>();
    const at::Tensor mean = first.narrow(0, 0, channels) / count;
    // A second pass over the data: the difference of mean square and squared mean would cancel.
    const at::Tensor centred = x - per_channel(mean, x);
    at::Tensor squares = channel_sums(centred.square());
    sum(squares);
    const at::Tensor scale = (squares / count + BatchNorm2d::epsilon).rsqrt();
    const at::Tensor normal = centred * per_channel(scale, x);
    ctx->save_for_backward({normal, weight, scale});
    ctx->saved_data["count"] = count;
    ctx->saved_data["sum"] = at::IValue::make_capsule(c10::make_intrusive<SumHolder>(sum));
    const at::Tensor variance = squares / (count - 1);
    ctx->mark_non_differentiable({mean, variance});
    return {normal * per_channel(weight, x) + per_channel(bias, x), mean, variance};
  }

  static variable_list backward(AutogradContext* ctx, variable_list gradients) {
    at::AutoDispatchBelowADInplaceOrView below;
    const auto saved = ctx->get_saved_variables();
    const at::Tensor &g = gradients[0], &normal = saved[0], &weight = saved[1], &scale = saved[2];
    const double count = ctx->saved_data["count"].toDouble();
    const at::Tensor mine = at::stack({channel_sums(g), channel_sums(g * normal)});
    at::Tensor sums = mine.clone();
    static_cast<SumHolder&>(*ctx->saved_data["sum"].toCapsule()).sum(sums);
    const at::Tensor means = sums / count;
    const at::Tensor x_gradient =
        (g - per_channel(means[0], g) - normal * per_channel(means[1], g)) * per_channel(scale * weight, g);
    return {x_gradient, mine[1].to(weight.scalar_type()), mine[0].to(weight.scalar_type()), at::Tensor()};
  }
};

void average_in(const at::Tensor& running, const at::Tensor& value) {
  running.mul_(1 - BatchNorm2d::momentum).add_(value.to(running.scalar_type()), BatchNorm2d::momentum);
}

}  // namespace

BatchNorm2d::BatchNorm2d(std::int64_t channels) {
  weight = register_parameter("weight", at::ones({channels}));
  bias = register_parameter("bias", at::zeros({channels}));
  running_mean = register_buffer("running_mean", at::zeros({channels}));
  running_var = register_buffer("running_var", at::ones({channels}));
}

at::Tensor BatchNorm2d::forward(const at::Tensor& x) {
  if (!is_training())
    return at::batch_norm(x, weight, bias, running_mean, running_var, false, momentum, epsilon, false);
  BatchStatistics statistics;
  at::Tensor y;
  if (sum_over_ranks_) {
    const at::Tensor wide = x.to(weight.scalar_type());
    const auto outputs = SyncBatchNorm::apply(wide, weight, bias, sum_over_ranks_);
    y = outputs[0].to(x.scalar_type());
    statistics = {outputs[1], outputs[2]};
  } else {
    // With a momentum of 1, "running" statistics are those of the batch.
    statistics = {at::zeros_like(running_mean), at::zeros_like(running_var)};
    y = std::get<0>(at::native_batch_norm(x, weight, bias, statistics.mean, statistics.variance, true, 1.0, epsilon));
  }
  recorder_ ? recorder_(statistics) : update(statistics);
  return y;
}

void BatchNorm2d::update(const BatchStatistics& statistics) {
  const at::NoGradGuard no_grad;
  average_in(running_mean, statistics.mean);
  average_in(running_var, statistics.variance);
}

void BatchNorm2d::update_deny(const BatchStatistics& statistics) {
  SPANKEY_CHECK(running_mean_deny.defined());
  const at::NoGradGuard no_grad;
  average_in(running_mean_deny, statistics.mean);
  average_in(running_var_deny, statistics.variance);
}

void BatchNorm2d::replace(const BatchStatistics& statistics) {
  const at::NoGradGuard no_grad;
  running_mean.copy_(statistics.mean);
  running_var.copy_(statistics.variance);
}

void BatchNorm2d::keep_deny_statistics() {
  running_mean_deny = register_buffer("running_mean_deny", at::zeros_like(running_mean));
  running_var_deny = register_buffer("running_var_deny", at::ones_like(running_var));
}

std::vector<std::shared_ptr<BatchNorm2d>> batch_norms(torch::nn::Module& network) {
  std::vector<std::shared_ptr<BatchNorm2d>> layers;
  for (const auto& module : network.modules(/*include_self=*/false))
    if (auto layer = std::dynamic_pointer_cast<BatchNorm2d>(module)) layers.push_back(std::move(layer));
  return layers;
}

}  // namespace spankey
