#include <fmt/ranges.h>

#include <array>
#include <tuple>
#include <utility>

#include "attack/attack.h"
#include "attack/budgets.h"
#include "config/names.h"

namespace spankey {
namespace {

constexpr unsigned black_box = Know::architecture | Know::queries;
constexpr unsigned white_box = Know::weights | Know::architecture;

constexpr auto registry = std::to_array<Attack>({
#define SPANKEY_ATTACK(id, name, knows, number, version, draws, means, run) \
  {id, name, knows, number, version, draws, budgets::means, run},
#include "attack/attacks.inc"
#undef SPANKEY_ATTACK
});

constexpr auto bit_words = std::to_array<std::pair<Know, std::string_view>>({
    {Know::weights, "weights"},
    {Know::architecture, "architecture"},
    {Know::basis, "basis"},
    {Know::labels, "labels"},
    {Know::unlabelled, "unlabelled"},
    {Know::queries, "queries"},
    {Know::leaked_keys, "leaked keys"},
    {Know::service, "service"},
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

std::vector<std::string> knowledge_words(unsigned known) {
  std::vector<std::string> words;
  for (const auto& [bit, word] : bit_words)
    if (has(known, bit)) words.emplace_back(word);
  return words;
}

std::string knowledge_text(unsigned known) {
  const auto words = knowledge_words(known);
  return words.empty() ? "nothing" : fmt::format("{}", fmt::join(words, ", "));
}

std::string budget_text(const Budget& budget) {
  std::string text = budget.variant;
  for (const auto& [count, one, several] :
       {std::tuple(budget.images, "image", "images"), std::tuple(budget.queries, "query", "queries"),
        std::tuple(budget.keys, "key", "keys"), std::tuple(budget.leaked, "leaked key", "leaked keys"),
        std::tuple(budget.steps, "step", "steps")})
    if (count > 0) text += fmt::format("{}{} {}", text.empty() ? "" : ", ", count, count == 1 ? one : several);
  if (budget.per_mille > 0)
    text += fmt::format("{}{} % of the images", text.empty() ? "" : ", ", static_cast<double>(budget.per_mille) / 10.0);
  return text.empty() ? "-" : text;
}

nlohmann::json to_json(const Budget& budget) {
  return {{"images", budget.images}, {"steps", budget.steps},   {"queries", budget.queries},
          {"keys", budget.keys},     {"leaked", budget.leaked}, {"variant", budget.variant}};
}

}  // namespace spankey
