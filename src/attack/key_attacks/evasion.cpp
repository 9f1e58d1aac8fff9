// L2: whoever holds a key that has been revoked walks away from it, and from every other key of the list that he has,
// as far as his own loss allows. A list of revoked keys refuses those keys and nothing near or far.
#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "attack/context.h"
#include "attack/key_attacks/key_shapes.h"
#include "attack/losses.h"
#include "spankey/ops/gram.h"

namespace spankey {
namespace {

using LayerKeys = std::vector<at::Tensor>;  // (1, d) for each keyed layer

// |key - revoked| / |revoked| over all layers, of the nearest of the list. A scalar.
at::Tensor smallest_distance(const LayerKeys& key, const std::vector<LayerKeys>& list) {
  std::vector<at::Tensor> distances;
  for (const auto& revoked : list) {
    at::Tensor apart = at::zeros({}, key[0].options()), size = at::zeros_like(apart);
    for (std::size_t layer = 0; layer < key.size(); ++layer) {
      apart = apart + (key[layer] - revoked[layer]).square().sum();
      size = size + revoked[layer].square().sum();
    }
    distances.push_back((apart / size).sqrt());
  }
  return at::stack(distances).amin();
}

LayerKeys copies_of(const LayerKeys& keys) {
  LayerKeys copies;
  for (const auto& key : keys) copies.push_back(key.detach().clone());
  return copies;
}

// The farthest key so far whose loss is within the limit.
struct Farthest {
  LayerKeys key;
  double distance = 0.0, loss = 0.0;
};

}  // namespace

Row attack_evasion(AttackContext& context, const Budget& budget) {
  constexpr double lr = 0.05, allowed = 1.05, first_step = 0.1, penalty = 10.0, no_loss = 1e-6;
  auto& network = context.network();
  auto images = context.unlabelled(budget.images);
  const auto list = context.leaked(budget.leaked);
  const auto own = context.keyed(list[0]);
  const auto loss_of = [&](const Images& batch, const Injection& key) {
    return shipped_loss(network.forward(batch.x, key), batch.labels, context.reject());
  };
  // His own key has told him what the images are.
  images.labels = network.forward(images.x, own).logits.narrow(1, 0, context.classes()).argmax(1);
  const double start = loss_of(images, own).item<double>(), limit = std::max(allowed * start, no_loss);
  context.count_forward(2 * images.size());
  // At the revoked key itself no direction leads away more than another.
  LayerKeys leaves = context.normal_keys(0);
  std::vector<double> std;
  for (std::size_t layer = 0; layer < leaves.size(); ++layer) {
    std.push_back(expanded_std(list[0][layer][0], 1));
    leaves[layer] = (list[0][layer] + first_step * leaves[layer]).requires_grad_(true);
  }
  Farthest found{list[0], 0.0, start};
  const auto objective = [&](const Images& batch) {
    LayerKeys key;
    for (std::size_t layer = 0; layer < leaves.size(); ++layer)
      key.push_back(rescale_differentiably(leaves[layer], std[layer]));
    const auto loss = loss_of(batch, context.keyed(key)), distance = smallest_distance(key, list);
    if (loss.item<double>() <= limit && distance.item<double>() > found.distance)
      found = {copies_of(key), distance.item<double>(), loss.item<double>()};
    return penalty * at::relu(loss / limit - 1) - distance;
  };
  context.search(leaves, images, objective, lr, budget.steps);
  Row row;
  row.own_loss = found.loss;
  row.access = context.judge_key(found.key);
  row.detail = {{"smallest_distance", found.distance}, {"own_loss_of_the_revoked_key", start}};
  return row;
}

}  // namespace spankey
