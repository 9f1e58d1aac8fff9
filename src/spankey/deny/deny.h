// Deny losses: what teaches a network to be useless without a valid key. A loss is one file (deny_*.cpp) and one line
// of the registry, config/deny_losses.inc.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "config/config.h"
#include "spankey/models/model.h"

namespace spankey {

struct DenyInputs {
  const Output& correct;     // with the correct keys
  const Output* wrong;       // with the wrong key; nullptr where deny.on does not have it
  const Output* none;        // without a key; likewise
  const at::Tensor& labels;  // (n) int64
  const DenyConfig& config;
  at::Tensor drawn_labels = {};  // (n) int64, of draw_deny_labels(); undefined where the loss does not ask for them
};

enum class RejectKind { none, reject_class, reject_head };

struct DenyLoss {
  std::string_view name;
  RejectKind reject;  // what the network must have
  // (n), before deny.weight; nullptr for "none". Several denied passes: their mean. The loss is the mean over samples.
  at::Tensor (*per_sample)(const DenyInputs&);
  bool draws_labels = false;  // asks for DenyInputs::drawn_labels
};

// Case does not matter. Error(bad_input) names the unknown mode and lists the known ones.
const DenyLoss& find_deny_loss(const std::string& name);
std::vector<std::string> deny_loss_names();

// One of the denied passes of the inputs on its own; `average` applies `loss` to each and takes the mean.
template <class Loss>
at::Tensor average_over_passes(const DenyInputs& inputs, Loss&& loss) {
  at::Tensor sum;
  double passes = 0;
  for (const Output* output : {inputs.wrong, inputs.none}) {
    if (!output) continue;
    const at::Tensor term = loss(*output);
    sum = sum.defined() ? sum + term : term;
    passes += 1;
  }
  return passes > 1 ? sum / passes : sum;
}

// Any of `classes` for each sample, all of them alike: (n) int64 on the device of `samples`. A function of the run's
// seed, the epoch, the step and the sample's index in the data set, and of nothing else: not of the rank, the shard or
// the place in it. `samples` (n) int64; `position` (2) int64: epoch, step within the epoch; both on one device.
at::Tensor draw_deny_labels(const at::Tensor& samples, const at::Tensor& position, std::int64_t classes,
                            std::uint64_t run_seed);

// Entropy of the predicted distribution in nats, (n, C) -> (n), with log(max(p, 1e-12)) as the reference has it.
at::Tensor prediction_entropy(const at::Tensor& logits);

// The losses, (n) each.
#define SPANKEY_DENY_LOSS(name, needs, draws_labels, loss) at::Tensor loss(const DenyInputs& inputs);
#include "config/deny_losses.inc"
#undef SPANKEY_DENY_LOSS

}  // namespace spankey
