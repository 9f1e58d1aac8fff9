#include "train/running_statistics.h"

#include <ATen/ATen.h>

#include <algorithm>
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
  measured_.resize(2 * layers_.size());
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    const auto& layer = layers_[i];
    pass_slots_ += 2 * layer->channels();
    layer->record_with([this, i](const BatchStatistics& measured) {
      measured_[2 * i] = measured.mean;
      measured_[2 * i + 1] = measured.variance;
      if (++reported_ == layers_.size()) write();
    });
    if (synchronise_over)
      layer->synchronise_with([synchronise_over](at::Tensor& values) {
        synchronise_over->all_reduce(values);
        synchronise_over->join();
      });
  }
}

// At once for all layers, which on a device saves three kernels a layer.
void RunningStatistics::write() {
  SPANKEY_CHECK(slots_.defined());
  const at::NoGradGuard no_grad;
  current_.narrow(1, 1, pass_slots_ - 1).copy_(at::cat(measured_, 1)).mul_(weight_);
  std::fill(measured_.begin(), measured_.end(), at::Tensor());
  reported_ = 0;
}

RunningStatistics::~RunningStatistics() {
  for (const auto& layer : layers_) {
    layer->record_with(nullptr);
    layer->set_groups(1);
    layer->synchronise_with(nullptr);
  }
}

void RunningStatistics::begin_shard(at::Tensor slots, double weight) {
  slots_ = std::move(slots);
  weight_ = weight;
}

void RunningStatistics::begin_passes(const std::vector<TrainPass>& passes) {
  if (layers_.empty()) return;
  SPANKEY_CHECK(!passes.empty());
  const auto row = [&](std::size_t i) { return static_cast<std::int64_t>(passes[i]); };
  const std::int64_t step = passes.size() == 1 ? 1 : row(1) - row(0);
  for (std::size_t i = 0; i < passes.size(); ++i)
    SPANKEY_CHECK_EQ(row(i), row(0) + static_cast<std::int64_t>(i) * step);
  SPANKEY_CHECK_GE(step, 1);
  SPANKEY_CHECK_LT(row(passes.size() - 1), pass_count_);
  current_ = table(slots_).slice(0, row(0), row(passes.size() - 1) + 1, step);
  current_.select(1, 0).fill_(weight_);
  reported_ = 0;
  for (const auto& layer : layers_) layer->set_groups(std::ssize(passes));
}

std::vector<at::Tensor> RunningStatistics::statistics(const at::Tensor& sums, TrainPass pass) const {
  const at::Tensor row = table(sums)[static_cast<std::int64_t>(pass)];
  const at::Tensor measured =
      (row.narrow(0, 1, pass_slots_ - 1) / row[0]).to(layers_.front()->running_mean.scalar_type());
  std::vector<std::int64_t> sizes;
  for (const auto& layer : layers_) sizes.insert(sizes.end(), 2, layer->channels());
  return measured.split_with_sizes(sizes);
}

std::vector<at::Tensor> RunningStatistics::running(bool denied) const {
  std::vector<at::Tensor> result;
  for (const auto& layer : layers_) {
    result.push_back(denied ? layer->running_mean_deny : layer->running_mean);
    result.push_back(denied ? layer->running_var_deny : layer->running_var);
  }
  return result;
}

void RunningStatistics::update(const at::Tensor& sums, const std::vector<TrainPass>& passes) {
  if (layers_.empty()) return;
  for (const TrainPass pass : update_order) {
    const bool deny = pass != TrainPass::correct;
    if (std::find(passes.begin(), passes.end(), pass) == passes.end() || (deny && policy_ == BatchNorm::freeze_deny))
      continue;
    SPANKEY_CHECK_LT(static_cast<std::int64_t>(pass), pass_count_);
    average_in(running(deny && policy_ == BatchNorm::split), statistics(sums, pass));
  }
}

void RunningStatistics::replace(const at::Tensor& sums) {
  if (layers_.empty()) return;
  const at::NoGradGuard no_grad;
  const auto measured = statistics(sums, TrainPass::correct);
  const auto buffers = running(/*denied=*/false);
  for (std::size_t i = 0; i < buffers.size(); ++i) buffers[i].copy_(measured[i]);
}

}  // namespace spankey
