#include "spankey/deny.h"

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cctype>

#include "base/error.h"

namespace spankey {
namespace {

constexpr std::array<DenyLoss, 9> registry = {{
    {"none", RejectKind::none, nullptr},
    {"A", RejectKind::none, deny_a},
    {"A_soft", RejectKind::none, deny_a_soft},
    {"B", RejectKind::reject_class, deny_b},
    {"B_aux", RejectKind::reject_head, deny_b_aux},
    {"BS", RejectKind::reject_class, deny_bs, /*draws_labels=*/true},
    {"C", RejectKind::none, deny_c},
    {"cplus", RejectKind::none, deny_cplus},
    {"AC", RejectKind::none, deny_ac},
}};

bool same_word(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](unsigned char x, unsigned char y) { return std::tolower(x) == std::tolower(y); });
}

}  // namespace

const DenyLoss& find_deny_loss(const std::string& name) {
  for (const DenyLoss& loss : registry)
    if (same_word(loss.name, name)) return loss;
  fail_input("deny.mode = \"{}\": accepted: {}", name, fmt::join(deny_loss_names(), ", "));
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

}  // namespace spankey
