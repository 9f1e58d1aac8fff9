#include <fmt/format.h>

#include <array>
#include <utility>

#include "attack/attack.h"
#include "attack/budgets.h"
#include "config/names.h"

namespace spankey {
namespace {

constexpr unsigned black_box = Know::architecture | Know::queries;
constexpr unsigned white_box = Know::weights | Know::architecture;

// id, name, knowledge, number, version, draws, budgets, function
constexpr auto registry = std::to_array<Attack>({
    {"R0", "correct key", 0U | Know::owner, 1, 1, false, budgets::correct_key, attack_correct_key},
    {"Z0", "constant key", black_box, 2, 1, false, budgets::constant_key, attack_constant_key},
    {"O1", "no key, class logits", 0U | Know::weights, 3, 1, false, budgets::once, attack_strip},
    {"O2a", "class biases", Know::weights | Know::labels, 4, 1, true, budgets::readout, attack_class_bias},
    {"O2b", "remapped answers", Know::weights | Know::labels, 5, 1, true, budgets::readout, attack_remap},
    {"O2c", "linear probe", Know::weights | Know::labels, 6, 1, true, budgets::searched_readout, attack_probe},
    {"K1", "random keys", black_box | Know::labels, 7, 1, true, budgets::random_keys, attack_random_keys},
    {"K2", "families of wrong keys", 0U | Know::owner, 8, 1, false, budgets::key_families, attack_key_families},
    {"K4", "mean of leaked keys", black_box | Know::leaked_keys, 9, 1, true, budgets::leaked, attack_leaked_mean},
    {"K5", "free key", white_box | Know::labels, 10, 1, true, budgets::free_key, attack_free_key},
    {"K6", "free key, no labels", white_box | Know::unlabelled, 11, 1, true, budgets::unlabelled,
     attack_unlabelled_key},
    {"K7", "free multiplier", white_box | Know::labels, 12, 1, true, budgets::free_multiplier, attack_free_multiplier},
    {"W1", "fine-tuning", Know::weights | Know::labels, 13, 1, true, budgets::fine_tune, attack_fine_tune},
    {"W2", "biases", Know::weights | Know::labels, 14, 1, true, budgets::biases, attack_biases},
    {"S0", "from scratch", Know::architecture | Know::labels, 15, 1, true, budgets::scratch, attack_scratch},
});

constexpr auto knowledge_words = std::to_array<std::pair<Know, std::string_view>>({
    {Know::weights, "weights"},
    {Know::architecture, "architecture"},
    {Know::basis, "basis"},
    {Know::labels, "labels"},
    {Know::unlabelled, "unlabelled"},
    {Know::queries, "queries"},
    {Know::leaked_keys, "leaked keys"},
    {Know::owner, "owner"},
});

}  // namespace

std::span<const Attack> attacks() {
  return registry;
}

const Attack& find_attack(std::string_view id) {
  std::vector<std::string_view> ids;
  for (const Attack& attack : registry) {
    if (same_name(attack.id, id)) return attack;
    ids.push_back(attack.id);
  }
  fail_unknown_name("--attacks", id, ids);
}

std::string knowledge_text(unsigned known) {
  std::string text;
  for (const auto& [bit, word] : knowledge_words)
    if (has(known, bit)) text += fmt::format("{}{}", text.empty() ? "" : ", ", word);
  return text.empty() ? "nothing" : text;
}

std::string budget_text(const Budget& budget) {
  std::string text = budget.variant;
  for (const auto& [count, unit] :
       {std::pair(budget.images, "image"), std::pair(budget.keys, "key"), std::pair(budget.steps, "step")})
    if (count > 0) text += fmt::format("{}{} {}{}", text.empty() ? "" : ", ", count, unit, count == 1 ? "" : "s");
  return text.empty() ? "-" : text;
}

nlohmann::json to_json(const Budget& budget) {
  return {{"images", budget.images}, {"steps", budget.steps}, {"keys", budget.keys}, {"variant", budget.variant}};
}

}  // namespace spankey
