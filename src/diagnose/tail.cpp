#include "diagnose/tail.h"

#include <ATen/ATen.h>

#include <cmath>
#include <span>
#include <tuple>

#include "base/error.h"
#include "base/statistics.h"
#include "base/stream.h"

namespace spankey {
namespace {

at::Tensor phi(const at::Tensor& x) {
  return at::special_ndtr(x);
}

// Returns the values at each sample's own column, (n, columns) -> (n).
at::Tensor pick(const at::Tensor& values, const at::Tensor& columns) {
  return values.gather(1, columns.unsqueeze(1)).squeeze(1);
}

}  // namespace

LinearScores linearise(const MarginProbe& probe, const at::Tensor& x, const std::vector<Perturbation>& slots) {
  const auto jacobian = probe.jacobian(x, probe.space().no_keys(1, x.scalar_type()));
  LinearScores result{jacobian.scores.to(at::kDouble), {}};
  for (std::size_t s = 0; s < slots.size(); ++s) {
    at::Tensor weights = jacobian.slots[s].to(at::kDouble);
    if (slots[s].slope != 0) weights /= slots[s].slope;  // with gamma = 0 the derivatives are 0 as well
    result.weights.push_back(weights);
  }
  return result;
}

at::Tensor linear_scores(const LinearScores& linear, const InjectionKind& kind, const std::vector<at::Tensor>& keys) {
  at::Tensor scores = linear.scores.unsqueeze(1);  // (n, 1, columns)
  for (std::size_t s = 0; s < keys.size(); ++s)
    scores = scores + at::matmul(perturbed(kind, keys[s]), linear.weights[s].transpose(1, 2));
  return scores;
}

TailPrediction predict_tail(const LinearScores& linear, const std::vector<Perturbation>& slots,
                            const at::Tensor& labels, const Judge& judge, const at::Tensor& normals) {
  const at::Tensor& scores = linear.scores;
  at::Tensor mean = scores, squares = at::zeros({scores.size(0)}, at::kDouble), spread = squares.clone();
  at::Tensor covariance = at::zeros({scores.size(0), scores.size(1), scores.size(1)}, at::kDouble);
  const auto margin_without = judge.advantages(scores, labels).min(1);
  const at::Tensor rival = std::get<1>(margin_without);
  const bool head = judge.reject == RejectKind::reject_head;
  for (std::size_t s = 0; s < slots.size(); ++s) {
    const at::Tensor& weights = linear.weights[s];  // (n, columns, d)
    mean = mean + slots[s].mean * weights.sum(2);
    covariance += slots[s].variance * weights.matmul(weights.transpose(1, 2));
  }
  // Sums |w|^2 of the margin's own direction w = W_label - W_rival (the head's rival is 0), one slot after the other.
  const at::Tensor rows = at::arange(scores.size(0), at::kLong);
  for (std::size_t s = 0; s < slots.size(); ++s) {
    const at::Tensor& weights = linear.weights[s];
    at::Tensor own = weights.index({rows, labels});
    if (head) own = own * rival.ne(judge.classes).unsqueeze(1);
    const at::Tensor w2 = (own - weights.index({rows, rival})).square().sum(1);
    squares += slots[s].variance * w2;
    spread += slots[s].range * slots[s].range * w2;
  }

  TailPrediction tail;
  tail.margin_mean = pick(judge.advantages(mean, labels), rival);
  tail.margin_sd = squares.sqrt();
  tail.tau = tail.margin_mean / tail.margin_sd;
  const at::Tensor decided = at::where(tail.margin_mean.gt(0), 0.0, 1.0).to(at::kDouble);  // without any spread
  const at::Tensor spreads = tail.margin_sd.gt(0);
  tail.gaussian = at::where(spreads, phi(-tail.tau), decided);

  const auto [values, vectors] = at::linalg_eigh(covariance);
  const at::Tensor root = vectors * values.clamp_min(0).sqrt().unsqueeze(1);  // (n, columns, columns)
  const at::Tensor draws = mean.unsqueeze(1) + at::matmul(normals, root.transpose(1, 2));
  tail.jacobian = judge.margin(draws, labels).le(0).to(at::kDouble).mean(1);

  const at::Tensor mean2 = tail.margin_mean.square(), variance = squares;
  const at::Tensor right = tail.margin_mean.gt(0);
  tail.cantelli_high = at::where(right, variance / (variance + mean2), 1.0);
  tail.cantelli_low = at::where(tail.margin_mean.lt(0), mean2 / (variance + mean2), 0.0);
  if (std::isfinite(slots.front().range))
    tail.hoeffding = at::where(right, (-2 * mean2 / spread).exp(), 1.0).nan_to_num(1.0);
  return tail;
}

at::Tensor tail_normals(std::uint64_t seed, std::int64_t draws, std::int64_t columns) {
  at::Tensor normals = at::empty({draws, columns}, at::kFloat);
  Stream({.seed = seed, .purpose = Purpose::diagnose})
      .fill_normal(std::span(normals.mutable_data_ptr<float>(), static_cast<std::size_t>(normals.numel())));
  return normals.to(at::kDouble);
}

at::Tensor fitted_tail(const at::Tensor& margins) {
  SPANKEY_CHECK_LT(1, margins.size(1));
  const at::Tensor mean = margins.mean(1), sd = margins.std(1);
  return at::where(sd.gt(0), phi(-mean / sd), at::where(mean.gt(0), 0.0, 1.0).to(at::kDouble));
}

SpanShift span_shift(const std::vector<at::Tensor>& gradients, const KeySpace& space, const std::vector<double>& std,
                     double mean_cosine) {
  SpanShift shift;
  for (std::size_t s = 0; s < gradients.size(); ++s) {
    const auto& slot = space.slots()[s];
    const auto energy = span_energy(gradients[s], slot);
    const auto d = static_cast<double>(slot.width()), m = static_cast<double>(slot.dimension());
    const double power = std[s] * std[s];
    const at::Tensor mean = mean_cosine * std[s] * std::sqrt(d) * energy.mean_component;
    const at::Tensor valid = (1 - mean_cosine * mean_cosine) * power * d / m * energy.in_span;
    const at::Tensor wrong = power * energy.total;
    shift.valid_mean = shift.valid_mean.defined() ? shift.valid_mean + mean : mean;
    shift.valid_variance = shift.valid_variance.defined() ? shift.valid_variance + valid : valid;
    shift.wrong_variance = shift.wrong_variance.defined() ? shift.wrong_variance + wrong : wrong;
  }
  return shift;
}

}  // namespace spankey
