// Mode BS: B, and on the denied passes the class logits are taught a wrong label. B alone leaves their order as it is:
// whoever ignores the reject logit reads the right class off them (strip accuracy).
// -log p_reject - log softmax(class logits)[y'], y' = y shifted by 1 .. C-1 classes. (Not in arXiv 2604.12254.)
//
// The shift is a function of the sample's place in its shard alone: the order of samples is another one in every epoch,
// so a sample meets every shift, and what shards are made of does not depend on ranks or restarts. A fixed shift would
// leave a class map that anybody undoes; with every wrong class alike the class logits of a denied pass go flat, the
// true class a little below the others. The features before them keep the class: whoever fits a new last layer to
// labelled samples has it back.
#include <ATen/ATen.h>

#include <map>
#include <tuple>

#include "base/stream.h"
#include "spankey/deny.h"

namespace spankey {
namespace {

at::Tensor draw_shifts(std::int64_t n, std::int64_t classes) {
  const Stream stream({.purpose = Purpose::deny_label});
  at::Tensor shift = at::empty({n}, at::kLong);
  for (std::int64_t i = 0; i < n; ++i)
    shift.mutable_data_ptr<std::int64_t>()[i] =
        1 +
        static_cast<std::int64_t>(stream.below(static_cast<std::uint64_t>(i), static_cast<std::uint64_t>(classes - 1)));
  return shift;
}

// The same for every shard of so many samples. On a device they are kept: an upload in every step would wait for it,
// and has no place in a captured step.
at::Tensor shifts(std::int64_t n, std::int64_t classes, at::Device device) {
  if (device.is_cpu()) return draw_shifts(n, classes);
  thread_local std::map<std::tuple<std::int64_t, std::int64_t, at::DeviceIndex>, at::Tensor> kept;
  at::Tensor& entry = kept[{n, classes, device.index()}];
  if (!entry.defined()) entry = draw_shifts(n, classes).to(device);
  return entry;
}

// (n) -> (n), another class for each.
at::Tensor wrong_labels(const at::Tensor& labels, std::int64_t classes) {
  return (labels + shifts(labels.size(0), classes, labels.device())).remainder(classes);
}

}  // namespace

at::Tensor deny_bs(const DenyInputs& inputs) {
  const std::int64_t classes = inputs.correct.logits.size(1) - 1;
  const at::Tensor wrong = wrong_labels(inputs.labels, classes).unsqueeze(1);
  return deny_b(inputs) + average_over_passes(inputs, [&](const Output& output) {
           return -output.logits.narrow(1, 0, classes).log_softmax(1).gather(1, wrong).squeeze(1);
         });
}

}  // namespace spankey
