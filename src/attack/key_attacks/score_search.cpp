// K8a: whoever sees the scores of the service, but not the network, estimates the gradient from them: natural evolution
// strategies with antithetic pairs (Salimans et al., arXiv 1703.03864; Ilyas et al., ICML 2018, section 2).
#include <ATen/ATen.h>

#include <algorithm>

#include "attack/context.h"
#include "attack/key_attacks/key_shapes.h"
#include "attack/losses.h"

namespace spankey {
namespace {

// The loss of keys, by what the service answers about a few images at a time.
class Scores {
 public:
  Scores(AttackContext& context, const Images& images) : context_(context), images_(images) {}

  std::int64_t images_a_query() const { return std::min(most_images, images_.size()); }
  // Returns the loss over the images of a pair, about which both of its keys are asked.
  double loss(const at::Tensor& vector, std::int64_t pair) {
    const auto count = images_a_query();
    const auto begin = pair * count % (images_.size() - count + 1);
    const auto keys = context_.keyed(prefixes(context_.key_entry(), vector));
    const auto output = context_.query_scores(images_.x.narrow(0, begin, count), keys);
    return shipped_loss(output, images_.labels.narrow(0, begin, count), context_.reject()).item<double>();
  }

 private:
  // One image opens most locks to a free key, so that more directions tell more than more images.
  static constexpr std::int64_t most_images = 16;

  AttackContext& context_;
  const Images& images_;
};

}  // namespace

Row attack_score_search(AttackContext& context, const Budget& budget) {
  constexpr std::int64_t most_pairs_a_step = 50;
  constexpr double relative_deviation = 0.1, lr = 0.1;
  const auto images = context.labelled(budget.images);
  Scores scores(context, images);
  const double deviation = relative_deviation * context.key_entry().std;
  const at::Tensor vector = widest_key(context.normal_keys(0)).clone().requires_grad_(true);
  const auto pairs =
      std::max<std::int64_t>(0, budget.queries - scores.images_a_query()) / (2 * scores.images_a_query());
  Row row;
  std::int64_t done = 0;
  // Its gradient in the vector is the estimate, so that the loop of all searches takes the step.
  const auto surrogate = [&](const Images&) {
    const at::Tensor here = vector.detach();
    at::Tensor estimate = at::zeros_like(here);
    const auto now = std::min(most_pairs_a_step, pairs - done);
    double sum = 0.0;
    for (std::int64_t i = 0; i < now; ++i, ++done) {
      const at::Tensor direction = widest_key(context.normal_keys(1 + done)) / context.key_entry().std;
      const double above = scores.loss(here + deviation * direction, done),
                   below = scores.loss(here - deviation * direction, done);
      estimate += direction * ((above - below) / (2.0 * deviation * static_cast<double>(now)));
      sum += above + below;
    }
    if (now > 0) row.detail["curve"].push_back({context.cost().queries, sum / static_cast<double>(2 * now)});
    return (vector * estimate).sum();
  };
  const auto steps = (pairs + most_pairs_a_step - 1) / most_pairs_a_step;
  context.search({vector}, images, surrogate, lr, steps);
  row.own_loss = scores.loss(vector.detach(), 0);
  row.access = context.judge_key(prefixes(context.key_entry(), vector.detach()));
  return row;
}

}  // namespace spankey
