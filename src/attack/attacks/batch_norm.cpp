// W3: BatchNorm's running statistics measured anew without a key, on images without labels. Training leaves statistics
// that belong to keyed activations, and a network without a key may fail for no other reason.
#include "attack/attacks/batch_norm.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "attack/context.h"
#include "attack/weights_guard.h"
#include "train/running_statistics.h"

namespace spankey {

void replace_statistics(Model& network, const Images& images) {
  const at::NoGradGuard no_grad;
  RunningStatistics statistics(network, BatchNorm::polluted, /*denied=*/false, nullptr);
  if (statistics.slots() == 0) return;
  const auto device = network.parameters().front().device();
  at::Tensor sums = at::zeros({statistics.slots()}, at::TensorOptions(device).dtype(at::kDouble));
  network.train();
  for (std::int64_t begin = 0; begin < images.size(); begin += largest_full_batch) {
    const auto count = std::min(largest_full_batch, images.size() - begin);
    at::Tensor slots = at::zeros_like(sums);
    statistics.begin_shard(slots, static_cast<double>(count) / static_cast<double>(images.size()));
    statistics.begin_pass(TrainPass::correct);  // its place in the table: there is one pass here, without a key
    network.forward(images.x.narrow(0, begin, count), Injection::none());
    sums += slots;
  }
  network.eval();
  statistics.replace(sums);
}

Row attack_batch_norm(AttackContext& context, const Budget& budget) {
  auto& network = context.network();
  const auto images = context.unlabelled(budget.images);
  const WeightsGuard guard(network, {});
  replace_statistics(network, images);
  context.count_forward(images.size());
  Row row;
  row.access = context.judge(Injection::none());
  return row;
}

}  // namespace spankey
