#include "train/measure.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <numeric>
#include <utility>
#include <vector>

namespace spankey {

SplitReader::SplitReader(const Experiment& experiment, const Split& split, std::span<const std::int64_t> subset,
                         Augment augment)
    : split_(split),
      subset_(subset),
      assemble_(*experiment.dataset, split, augment, static_cast<std::uint64_t>(experiment.config.run.seed),
                Purpose::eval_augment, experiment.config.data.rotation),
      device_(experiment.placement.device) {}

SplitReader::SplitReader(const Experiment& experiment, const Split& split, std::span<const std::int64_t> subset,
                         at::Device device)
    : SplitReader(experiment, split, subset) {
  device_ = device;
}

std::int64_t SplitReader::size() const {
  return subset_.empty() ? split_.size : static_cast<std::int64_t>(subset_.size());
}

const SplitReader::Batch& SplitReader::rows(std::int64_t begin, std::int64_t end) {
  if (held_ == std::pair(begin, end)) return batch_;
  std::vector<std::int64_t> indices(static_cast<std::size_t>(end - begin));
  std::iota(indices.begin(), indices.end(), begin);
  if (!subset_.empty())
    for (std::int64_t& index : indices) index = subset_[static_cast<std::size_t>(index)];
  Batch on_host;  // a new one: what was fed before may still be on its way to a device
  assemble_(indices, /*epoch=*/0, on_host.x, on_host.labels);
  batch_ = {to_device(on_host.x, device_), to_device(on_host.labels, device_)};
  held_ = {begin, end};
  return batch_;
}

std::int64_t evaluation_batch_on(at::Device device) {
  constexpr std::int64_t of_a_gpu = 2048;
  return device.is_cpu() ? evaluation_batch : of_a_gpu;
}

at::Tensor measure(const Answers& answers, SplitReader& reader, std::int64_t begin, std::int64_t end,
                   RejectKind reject) {
  const auto& batch = reader.rows(begin, end);
  return access_counts(answers(batch.x), batch.labels, reject);
}

AccessCounts measure(const Answers& answers, SplitReader& reader, RejectKind reject,
                     const std::function<void()>& after_each_batch) {
  const torch::NoGradGuard no_grad;
  AccessCounts counts;
  for (std::int64_t begin = 0; begin < reader.size(); begin += evaluation_batch) {
    const auto& batch = reader.rows(begin, std::min(reader.size(), begin + evaluation_batch));
    counts += count_access(answers(batch.x), batch.labels, reject);
    if (after_each_batch) after_each_batch();
  }
  return counts;
}

}  // namespace spankey
