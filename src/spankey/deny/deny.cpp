#include "spankey/deny/deny.h"

#include <ATen/ATen.h>

#include <array>
#include <cmath>

#include "config/names.h"

namespace spankey {
namespace {

constexpr auto registry = std::to_array<DenyLoss>({
    {"none", RejectKind::none, nullptr},
#define SPANKEY_DENY_LOSS(name, needs, draws_labels, loss) {name, RejectKind::needs, loss, draws_labels},
#include "config/deny_losses.inc"
#undef SPANKEY_DENY_LOSS
});

}  // namespace

const DenyLoss& find_deny_loss(const std::string& name) {
  return find_named(registry, name, "deny.mode =");
}

std::vector<std::string> deny_loss_names() {
  std::vector<std::string> names;
  for (const DenyLoss& loss : registry) names.emplace_back(loss.name);
  return names;
}

at::Tensor prediction_entropy(const at::Tensor& logits) {
  const at::Tensor p = logits.softmax(1);
  return -(p * p.clamp_min(1e-12).log()).sum(1);
}

at::Tensor divergence_from_uniform(const at::Tensor& logits) {
  return -logits.log_softmax(1).mean(1) - std::log(static_cast<double>(logits.size(1)));
}

}  // namespace spankey
