// Z0: what an outsider sends who has no key at all: none, zeros, or a constant of the size of a key's elements.
#include <ATen/ATen.h>

#include "attack/context.h"
#include "base/error.h"

namespace spankey {
namespace {

double constant_of(const std::string& variant, double std) {
  if (variant == "zero") return 0.0;
  if (variant == "plus") return std;
  SPANKEY_CHECK(variant == "minus");
  return -std;
}

}  // namespace

Row attack_constant_key(AttackContext& context, const Budget& budget) {
  Row row;
  if (budget.variant == "none") {
    row.access = context.judge(Injection::none());
    return row;
  }
  const auto entry = context.key_entry();
  std::vector<at::Tensor> keys;
  for (const auto width : entry.widths)
    keys.push_back(at::full({1, width}, constant_of(budget.variant, entry.std), at::kFloat));
  row.access = context.judge(context.keyed(keys));
  return row;
}

}  // namespace spankey
