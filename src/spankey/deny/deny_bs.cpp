// Mode BS: B, and on the denied passes the class logits are taught a label drawn from all classes. B alone leaves their
// order as it is: whoever ignores the reject logit reads the right class off them (strip accuracy).
// -log p_reject - log softmax(class logits)[y'], y' uniform over the classes. (Not in arXiv 2604.12254.)
//
// The label is drawn anew for every sample in every step, and the true class is as likely as any other: at the optimum
// the class logits of a denied pass are equal. A shift of the true label that stays, or that a shard meets always at
// the same place, leaves a map of classes that anybody undoes; one that is never the true class leaves it the least of
// all, to be read off backwards. The features before the logits keep the class: whoever fits a new last layer to
// labelled samples has it back.
#include <ATen/ATen.h>

#include "base/error.h"
#include "base/stream.h"
#include "spankey/deny/deny.h"
#include "spankey/ops/draw_op.h"

namespace spankey {

at::Tensor draw_deny_labels(const at::Tensor& samples, const at::Tensor& position, std::int64_t classes,
                            std::uint64_t run_seed) {
  return draw_below(samples, position, classes, run_seed, Purpose::deny_label);
}

at::Tensor deny_bs(const DenyInputs& inputs) {
  SPANKEY_CHECK(inputs.drawn_labels.defined());
  const std::int64_t classes = inputs.correct.logits.size(1) - 1;
  const at::Tensor label = inputs.drawn_labels.unsqueeze(1);
  return deny_b(inputs) + average_over_passes(inputs, [&](const Output& output) {
           return -output.logits.narrow(1, 0, classes).log_softmax(1).gather(1, label).squeeze(1);
         });
}

}  // namespace spankey
