// K3: how near a key must come to a valid one, and how large it must be, to open the network. The owner's figure: it
// takes valid keys to know what is near them.
#include "spankey/keys/acceptance.h"

#include <algorithm>
#include <array>
#include <functional>
#include <utility>
#include <vector>

#include "attack/budgets.h"
#include "attack/context.h"
#include "base/error.h"
#include "spankey/keys/key_draws.h"

namespace spankey {
namespace {

// One point of a profile: keys at a cosine to a valid key, or of a size.
struct AcceptanceLevel {
  double at;
  std::function<Injection(std::int64_t key)> draw;
};

template <int tenths>
at::Tensor at_cosine(const FamilyInputs& in) {
  return key_families::beside_valid(in, tenths / 10.0);
}

template <int... tenths>
std::vector<AcceptanceLevel> cosine_levels_of(const KeyMaker& keys, std::integer_sequence<int, tenths...>) {
  const auto level = [&keys](int tenth, at::Tensor (*draw)(const FamilyInputs&)) {
    const KeyFamily family{"beside a valid key", draw, nullptr};
    return AcceptanceLevel{tenth / 10.0, [&keys, family](std::int64_t key) {
                             return keys.evaluation_wrong(key, evaluation_batch, family);
                           }};
  };
  return {level(tenths, at_cosine<tenths>)...};
}

std::vector<AcceptanceLevel> norm_levels_of(const KeyMaker& keys) {
  std::vector<AcceptanceLevel> levels;
  for (const double norm : std::array<double, budgets::norm_levels>{0.1, 0.25, 0.5, 0.75, 1.0, 2.0, 4.0})
    levels.push_back(
        {norm, [&keys, norm](std::int64_t key) { return keys.evaluation_correct(key, evaluation_batch, norm); }});
  return levels;
}

double share_of(std::int64_t count, const AccessCounts& access) {
  return static_cast<double>(count) / static_cast<double>(access.samples);
}

}  // namespace

Row attack_acceptance(AttackContext& context, const Budget& budget) {
  constexpr double shown = 0.5;  // the level whose access is that of the row
  SPANKEY_CHECK(budget.variant == "cosine" || budget.variant == "norm");
  const auto& keys = context.owners_keys();
  const bool by_cosine = budget.variant == "cosine";
  const auto levels = by_cosine ? cosine_levels_of(keys, std::make_integer_sequence<int, budgets::cosine_levels>())
                                : norm_levels_of(keys);
  const auto keys_a_level = std::max<std::int64_t>(1, budget.keys / std::ssize(levels));
  AcceptanceProfile shipped, stripped;
  Row row;
  for (const auto& level : levels) {
    AccessCounts all;
    double least = 1.0, most = 0.0;
    for (std::int64_t key = 0; key < keys_a_level; ++key) {
      const auto one = context.judge(level.draw(key));
      least = std::min(least, share_of(one.correct, one));
      most = std::max(most, share_of(one.correct, one));
      all += one;
    }
    if (level.at == shown) row.access = all;
    shipped.cosines.push_back(level.at);
    shipped.accuracy.push_back(share_of(all.correct, all));
    stripped.accuracy.push_back(share_of(all.strip, all));
    row.detail["profile"].push_back({{budget.variant, level.at},
                                     {"accuracy", shipped.accuracy.back()},
                                     {"min", least},
                                     {"max", most},
                                     {"strip_accuracy", stripped.accuracy.back()}});
  }
  if (!by_cosine) return row;
  stripped.cosines = shipped.cosines;
  const auto rules = context.key_rules();
  std::int64_t width = 0;
  for (std::int64_t slot = 0; slot < rules.key_slots(); ++slot) width += rules.wrong_width(slot);
  row.detail["c50"] = half_accept_cosine(shipped);
  row.detail["c50_class_logits"] = half_accept_cosine(stripped);
  row.detail["guess_bits"] = guess_bits(half_accept_cosine(shipped), width);
  return row;
}

}  // namespace spankey
