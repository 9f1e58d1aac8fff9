#include "train/running_statistics.h"

#include <ATen/ATen.h>

#include <utility>

#include "base/error.h"

namespace spankey {
namespace {

constexpr TrainPass update_order[] = {TrainPass::correct, TrainPass::none, TrainPass::wrong};

}  // namespace

RunningStatistics::RunningStatistics(Model& model, BatchNorm policy, bool denied, Communicator* synchronise_over)
    : layers_(batch_norms(model)), policy_(policy), pass_count_(denied ? std::ssize(update_order) : 1) {
  if (layers_.empty()) return;
  pass_slots_ = 1;
  for (const auto& layer : layers_) {
    const std::int64_t offset = pass_slots_, channels = layer->channels();
    pass_slots_ += 2 * channels;
    layer->record_with([this, offset, channels](const BatchStatistics& measured) {
      SPANKEY_CHECK(slots_.defined());
      const at::NoGradGuard no_grad;
      at::Tensor slots = slots_.narrow(0, pass_offset_ + offset, 2 * channels);
      slots.copy_(at::cat({measured.mean, measured.variance})).mul_(weight_);
    });
    if (synchronise_over)
      layer->synchronise_with([synchronise_over](at::Tensor& values) { synchronise_over->all_reduce(values); });
  }
}

RunningStatistics::~RunningStatistics() {
  for (const auto& layer : layers_) {
    layer->record_with(nullptr);
    layer->synchronise_with(nullptr);
  }
}

void RunningStatistics::begin_shard(at::Tensor slots, double weight) {
  slots_ = std::move(slots);
  weight_ = weight;
}

void RunningStatistics::begin_pass(TrainPass pass) {
  if (layers_.empty()) return;
  SPANKEY_CHECK_LT(static_cast<std::int64_t>(pass), pass_count_);
  pass_offset_ = static_cast<std::int64_t>(pass) * pass_slots_;
  slots_[pass_offset_] = weight_;
}

std::vector<BatchStatistics> RunningStatistics::statistics(const at::Tensor& sums, TrainPass pass) const {
  std::vector<BatchStatistics> result;
  std::int64_t offset = static_cast<std::int64_t>(pass) * pass_slots_;
  const double weight = sums[offset].item<double>();
  if (weight == 0.0) return result;
  ++offset;
  for (const auto& layer : layers_) {
    const std::int64_t channels = layer->channels();
    result.push_back({sums.narrow(0, offset, channels) / weight, sums.narrow(0, offset + channels, channels) / weight});
    offset += 2 * channels;
  }
  return result;
}

void RunningStatistics::update(const at::Tensor& sums) {
  if (layers_.empty()) return;
  for (const TrainPass pass : update_order) {
    const bool deny = pass != TrainPass::correct;
    if (static_cast<std::int64_t>(pass) >= pass_count_ || (deny && policy_ == BatchNorm::freeze_deny)) continue;
    const auto measured = statistics(sums, pass);
    for (std::size_t i = 0; i < measured.size(); ++i)
      deny&& policy_ == BatchNorm::split ? layers_[i]->update_deny(measured[i]) : layers_[i]->update(measured[i]);
  }
}

void RunningStatistics::replace(const at::Tensor& sums) {
  if (layers_.empty()) return;
  const auto measured = statistics(sums, TrainPass::correct);
  for (std::size_t i = 0; i < measured.size(); ++i) layers_[i]->replace(measured[i]);
}

}  // namespace spankey
