#include "diagnose/margin.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <limits>

#include "base/error.h"
#include "base/statistics.h"

namespace spankey {
namespace {

using Keys = std::vector<at::Tensor>;

// Returns d(sum of outputs)/d(inputs), with zeros where an output does not depend on an input.
std::vector<at::Tensor> gradients(const at::Tensor& outputs, const std::vector<at::Tensor>& inputs,
                                  bool retain_graph = false) {
  auto found = torch::autograd::grad({outputs.sum()}, inputs, {}, retain_graph, /*create_graph=*/false,
                                     /*allow_unused=*/true);
  for (std::size_t i = 0; i < found.size(); ++i)
    if (!found[i].defined()) found[i] = at::zeros_like(inputs[i]);
  return found;
}

// Keys whose injection lies `t` of the way from that of `from` to that of `to`, and the kind that they belong to. A
// multiplier between the two may have no key of the same kind where one of them is saturated, so the kind has twice the
// strength.
struct Between {
  Keys keys;
  InjectionKind kind;
};

Between between(const InjectionKind& kind, const Keys& from, const Keys& to, double t) {
  Between result{{}, kind};
  const bool add = kind.inject == Inject::add;
  if (kind.multiplier == Multiplier::exp)
    result.kind.gamma = 2 * kind.gamma;
  else if (!add)
    result.kind = {Inject::mul, 2.0, Multiplier::clamp};
  for (std::size_t s = 0; s < from.size(); ++s) {
    if (add) {
      result.keys.push_back(at::lerp(from[s], to[s], t));
      continue;
    }
    const auto factor = [&](const at::Tensor& key) {
      return Injection::of_keys({0}, {key.contiguous()}, kind).apply(0, at::ones_like(key));
    };
    const at::Tensor u = at::lerp(factor(from[s]), factor(to[s]), t);
    const at::Tensor tanh = kind.multiplier == Multiplier::exp ? u.log() : u - 1;
    result.keys.push_back(result.kind.gamma > 0 ? at::atanh(tanh / result.kind.gamma) : at::zeros_like(u));
  }
  return result;
}

Keys expanded(const Keys& keys, std::int64_t rows) {
  Keys result;
  for (const auto& key : keys) result.push_back(key.expand({rows, -1}).contiguous());
  return result;
}

}  // namespace

// ------------------------------------------------------------------------------------------------- Judge

at::Tensor Judge::scores(const Output& output) const {
  if (reject == RejectKind::reject_head) return at::cat({output.logits, output.reject.unsqueeze(1)}, 1);
  return reject == RejectKind::reject_class ? output.logits : output.logits.narrow(1, 0, classes);
}

at::Tensor Judge::advantages(const at::Tensor& scores, const at::Tensor& labels) const {
  auto shape = std::vector<std::int64_t>(static_cast<std::size_t>(scores.dim()), 1);
  shape[0] = labels.size(0);
  const at::Tensor index = labels.view(shape).expand_as(scores.narrow(-1, 0, 1));
  at::Tensor own = scores.gather(-1, index);
  if (reject == RejectKind::reject_head)
    own = at::cat({own.expand_as(scores.narrow(-1, 0, classes)), at::zeros_like(own)}, -1);
  const at::Tensor difference = own - scores;
  const at::Tensor at_label = at::zeros_like(difference, at::kBool).scatter(-1, index, 1);
  return difference.masked_fill(at_label, std::numeric_limits<double>::infinity());
}

at::Tensor Judge::margin(const at::Tensor& scores, const at::Tensor& labels) const {
  return std::get<0>(advantages(scores, labels).min(-1));
}

// ------------------------------------------------------------------------------------------------- MarginProbe

std::vector<at::Tensor> MarginProbe::leaves(const Keys& keys, std::int64_t rows) const {
  Keys result = expanded(keys, rows);
  for (auto& key : result) key = key.detach().clone().requires_grad_();
  return result;
}

at::Tensor MarginProbe::margin(const at::Tensor& x, const at::Tensor& labels, const Keys& keys) const {
  const at::NoGradGuard no_grad;
  const auto scores = judge_.scores(model_.forward(x, space_.injection(keys)));
  return judge_.margin(scores.to(at::kDouble), labels);
}

std::vector<at::Tensor> MarginProbe::margin_gradient(const at::Tensor& x, const at::Tensor& labels,
                                                     const Keys& keys) const {
  const at::AutoGradMode with_gradients(true);
  const Keys inputs = leaves(keys, x.size(0));
  const auto scores = judge_.scores(model_.forward(x, space_.injection(inputs)));
  return gradients(judge_.margin(scores, labels), inputs);
}

MarginProbe::Jacobian MarginProbe::jacobian(const at::Tensor& x, const Keys& keys) const {
  const at::AutoGradMode with_gradients(true);
  const Keys inputs = leaves(keys, x.size(0));
  const at::Tensor scores = judge_.scores(model_.forward(x, space_.injection(inputs)));
  std::vector<std::vector<at::Tensor>> rows(inputs.size());
  for (std::int64_t c = 0; c < scores.size(1); ++c) {
    const auto found = gradients(scores.select(1, c), inputs, /*retain_graph=*/c + 1 < scores.size(1));
    for (std::size_t s = 0; s < inputs.size(); ++s) rows[s].push_back(found[s]);
  }
  Jacobian result{scores.detach(), {}};
  for (const auto& slot : rows) result.slots.push_back(at::stack(slot, 1));
  return result;
}

// Returns the sum over the injection points of <dM/dh', to(h) - from(h)>. The pass with `at_keys` gives h and the
// gradient.
at::Tensor MarginProbe::site_products(const at::Tensor& x, const at::Tensor& labels, const Injection& at_keys,
                                      const Injection& from, const Injection& to) const {
  const at::AutoGradMode with_gradients(true);
  std::vector<at::Tensor> before, after;
  std::vector<std::int64_t> points;
  const auto observed = at_keys.observed([&](std::int64_t point, const at::Tensor& h, const at::Tensor& injected) {
    const auto& keyed = space_.points();
    if (std::find(keyed.begin(), keyed.end(), point) == keyed.end()) return;
    points.push_back(point);
    before.push_back(h.detach());
    after.push_back(injected);
  });
  const at::Tensor margin = judge_.margin(judge_.scores(model_.forward(x, observed)), labels);
  const auto found = gradients(margin, after);
  const at::NoGradGuard no_grad;
  at::Tensor sum = at::zeros({x.size(0)}, at::kDouble);
  for (std::size_t i = 0; i < points.size(); ++i) {
    const at::Tensor change = to.apply(points[i], before[i]) - from.apply(points[i], before[i]);
    sum += (found[i] * change).flatten(1).sum(1, false, at::kDouble).to(sum.device());
  }
  return sum;
}

at::Tensor MarginProbe::first_order(const at::Tensor& x, const at::Tensor& labels, const Keys& from,
                                    const Keys& to) const {
  // Keys that require gradients bring the activations behind them into the graph.
  return site_products(x, labels, space_.injection(leaves(from, x.size(0))), space_.injection(from),
                       space_.injection(to));
}

at::Tensor MarginProbe::path_integral(const at::Tensor& x, const at::Tensor& labels, const Keys& from,
                                      const Keys& to) const {
  at::Tensor sum = at::zeros({x.size(0)}, at::kDouble);
  for (const auto& node : gauss_legendre_8()) {
    const auto middle = between(space_.kind(), from, to, node.at);
    sum += node.weight * site_products(x, labels, space_.injection(leaves(middle.keys, x.size(0)), middle.kind),
                                       space_.injection(from), space_.injection(to));
  }
  return sum;
}

}  // namespace spankey
