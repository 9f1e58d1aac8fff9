#include "spankey/deny/task_loss.h"

#include <ATen/ATen.h>
#include <ATen/CPUFunctions.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <span>

namespace spankey {
namespace {

// Sum of -log softmax at the labels, divided by `divisor`, as one operation on the CPU: three nodes of autograd and
// their small tensors cost a small network more than its arithmetic. logits (n, classes) float32, labels (n) in range.
class TaskLoss : public torch::autograd::Function<TaskLoss> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& logits, const at::Tensor& labels,
                            double divisor) {
    at::AutoDispatchBelowADInplaceOrView below;
    const at::Tensor logs = at::cpu::_log_softmax(logits.contiguous(), 1, false);
    const std::int64_t classes = logs.size(1);
    const float* log = logs.const_data_ptr<float>();
    const std::int64_t* label = labels.const_data_ptr<std::int64_t>();
    double sum = 0;
    for (std::int64_t i = 0; i < labels.size(0); ++i) sum -= log[i * classes + label[i]];
    ctx->save_for_backward({logs, labels});
    ctx->saved_data["divisor"] = divisor;
    at::Tensor loss = at::empty({}, logits.options());
    *loss.mutable_data_ptr<float>() = static_cast<float>(sum / divisor);
    return loss;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx,
                                                 torch::autograd::variable_list gradients) {
    at::AutoDispatchBelowADInplaceOrView below;
    const auto saved = ctx->get_saved_variables();
    const float scale =
        *gradients[0].const_data_ptr<float>() / static_cast<float>(ctx->saved_data["divisor"].toDouble());
    at::Tensor result = at::cpu::exp(saved[0]);
    const std::int64_t classes = result.size(1), size = result.numel();
    const std::int64_t* label = saved[1].const_data_ptr<std::int64_t>();
    float* g = result.mutable_data_ptr<float>();
    for (std::int64_t i = 0; i < saved[1].size(0); ++i) g[i * classes + label[i]] -= 1;
    for (std::int64_t i = 0; i < size; ++i) g[i] *= scale;
    return {result, at::Tensor(), at::Tensor()};
  }
};

bool in_range(const at::Tensor& labels, std::int64_t classes) {
  const std::span all(labels.const_data_ptr<std::int64_t>(), static_cast<std::size_t>(labels.numel()));
  return std::all_of(all.begin(), all.end(), [&](std::int64_t label) { return 0 <= label && label < classes; });
}

at::Tensor smoothed_loss(const at::Tensor& logits, const at::Tensor& labels, double global_batch,
                         const LabelSmoothing& smoothing) {
  const at::Tensor logs = logits.log_softmax(1);
  const at::Tensor of_labels = at::nll_loss(logs, labels, {}, at::Reduction::Sum);
  const at::Tensor of_all = -logs.narrow(1, 0, smoothing.classes).sum() / static_cast<double>(smoothing.classes);
  return ((1.0 - smoothing.share) * of_labels + smoothing.share * of_all) / global_batch;
}

}  // namespace

// Inputs that the fused loss does not take, such as bad labels, go to ATen and its errors.
at::Tensor task_loss(const at::Tensor& logits, const at::Tensor& labels, double global_batch,
                     const LabelSmoothing& smoothing) {
  if (smoothing.share > 0.0) return smoothed_loss(logits, labels, global_batch, smoothing);
  if (logits.is_cpu() && logits.scalar_type() == at::kFloat && in_range(labels, logits.size(1)))
    return TaskLoss::apply(logits, labels, global_batch);
  return at::cross_entropy_loss(logits, labels, {}, at::Reduction::Sum) / global_batch;
}

}  // namespace spankey
