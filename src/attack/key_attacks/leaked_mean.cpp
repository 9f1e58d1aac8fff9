// K4: the mean of leaked keys, brought to their size. One leaked key is a valid key. The question is whether the mean
// of several, which is none of theirs and not traced to any of them, opens as much.
#include <ATen/ATen.h>

#include "attack/context.h"
#include "attack/key_attacks/key_shapes.h"
#include "spankey/ops/gram.h"

namespace spankey {

Row attack_leaked_mean(AttackContext& context, const Budget& budget) {
  const auto leaked = context.leaked(budget.leaked);
  std::vector<at::Tensor> mean;
  for (std::size_t layer = 0; layer < leaked[0].size(); ++layer) {
    at::Tensor sum = at::zeros_like(leaked[0][layer]);
    double std = 0.0;
    for (const auto& key : leaked) {
      sum += key[layer];
      std += expanded_std(key[layer][0], 1) / static_cast<double>(leaked.size());
    }
    mean.push_back(leaked.size() == 1 ? sum : of_size(sum, std));
  }
  Row row;
  row.access = context.judge_key(mean);
  return row;
}

}  // namespace spankey
