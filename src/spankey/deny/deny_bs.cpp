// Mode BS is B with one more term, in which the class logits of denied passes learn a label drawn from all classes. B
// alone leaves the order of the class logits unchanged, so that the right class can be read off them once the reject
// logit is ignored (strip accuracy). The loss is -log p_reject - log softmax(class logits)[y'] with y' uniform over the
// classes. (Not in arXiv 2604.12254.)
//
// The label is drawn anew for every sample in every step, and the true class is as likely as any other. At the optimum
// the class logits of a denied pass are therefore equal. A label that is always the same shift of the true one would
// leave a map of classes that can be inverted. A label that is never the true class would make the true class the least
// likely one, which can be read off backwards. The features before the logits still know the class, so that a new last
// layer fitted to labelled samples recovers it.
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
