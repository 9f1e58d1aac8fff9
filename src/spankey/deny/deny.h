// Deny losses, which teach a network to be useless without a valid key. A loss is one file (deny_*.cpp) and one line of
// the registry, config/deny_losses.inc.
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
  const Output* wrong;       // with the wrong key, nullptr where deny.on does not list it
  const Output* none;        // without a key, nullptr where deny.on does not list it
  const at::Tensor& labels;  // (n) int64
  const DenyConfig& config;
  at::Tensor drawn_labels = {};  // (n) int64 from draw_deny_labels(), undefined unless `draws_labels`
};

enum class RejectKind { none, reject_class, reject_head };

struct DenyLoss {
  std::string_view name;
  RejectKind reject;  // what the network must provide
  // The loss of each sample, (n), before deny.weight. It is the mean over the denied passes if there are several, and
  // the training loss is its mean over samples. nullptr for "none".
  at::Tensor (*per_sample)(const DenyInputs&);
  bool draws_labels = false;  // needs DenyInputs::drawn_labels
};

// Finds a loss by name, in any case. Error(bad_input) names the unknown mode and lists the known ones.
const DenyLoss& find_deny_loss(const std::string& name);
std::vector<std::string> deny_loss_names();

// Applies `loss` to each denied pass of the inputs and returns the mean.
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

// Draws one of `classes` uniformly for each sample, (n) int64 on the device of `samples`. The draw is a function of the
// run's seed, the epoch, the step and the sample's index in the data set. It does not depend on the rank, the shard or
// the place in it. `samples` is (n) int64, and `position` (2) int64 is the epoch and the step within it, on the same
// device.
at::Tensor draw_deny_labels(const at::Tensor& samples, const at::Tensor& position, std::int64_t classes,
                            std::uint64_t run_seed);

// Entropy of the predicted distribution in nats, (n, C) -> (n), with log(max(p, 1e-12)) as in the reference.
at::Tensor prediction_entropy(const at::Tensor& logits);

// Kullback-Leibler divergence KL(uniform || softmax(logits)) in nats, (n, C) -> (n). 0 where all logits of a row are
// equal.
at::Tensor divergence_from_uniform(const at::Tensor& logits);

// The functions of the losses. Each returns (n).
#define SPANKEY_DENY_LOSS(name, needs, draws_labels, loss) at::Tensor loss(const DenyInputs& inputs);
#include "config/deny_losses.inc"
#undef SPANKEY_DENY_LOSS

}  // namespace spankey
