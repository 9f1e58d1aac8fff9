// D2: whoever may ask the owner's service, which has a valid key, trains a network of his own on its answers. He needs
// neither the weights nor a key, and no labels.
#include <ATen/ATen.h>

#include "attack/context.h"
#include "attack/student.h"
#include "base/error.h"

namespace spankey {
namespace {

// The images with what the service says of them. Where it names classes, images that it rejects teach nothing.
Images answered(AttackContext& context, const Images& images, bool scores) {
  if (scores)
    return {images.x, answers_in_batches(images.x, [&](const at::Tensor& x) {
              return class_probabilities(context.service_scores(x), context.classes());
            })};
  const auto labels = answers_in_batches(images.x, [&](const at::Tensor& x) { return context.service(x); });
  const auto kept = labels.ge(0).nonzero().squeeze(1);
  if (kept.numel() == 0) throw SearchFailed("the service rejects all images");
  return {images.x.index_select(0, kept), labels.index_select(0, kept)};
}

}  // namespace

Row attack_extraction(AttackContext& context, const Budget& budget) {
  SPANKEY_CHECK(budget.variant == "labels" || budget.variant == "scores");
  const auto student = context.fresh_network();
  const auto lesson = answered(context, context.unlabelled(budget.images), budget.variant == "scores");
  const auto answers = [&](const at::Tensor& x) { return student->forward(x, Injection::none()); };
  Row row;
  row.own_loss = teach(context, *student, lesson, budget.steps);
  row.access = context.judge(answers, RejectKind::none);
  row.detail = {{"accuracy", static_cast<double>(row.access.correct) / static_cast<double>(row.access.samples)},
                {"fidelity", context.fidelity([&](const at::Tensor& x) { return answers(x).logits.argmax(1); })}};
  return row;
}

}  // namespace spankey
