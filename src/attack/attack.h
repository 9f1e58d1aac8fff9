// An attack is what somebody with stated knowledge and stated means tries against a run. Every attack is one file of
// attack/key_attacks or attack/attacks and one line of attack/attacks.inc. docs/attacks.md says what every attack does
// and what its outcome means.
#pragma once

#include <nlohmann/json.hpp>

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "spankey/deny/access.h"

namespace spankey {

class AttackContext;

// What an attacker knows, as bits of Attack::knows. AttackContext hands out nothing else.
enum class Know : unsigned {
  weights = 1,       // the network itself, so that he may ignore its rejection
  architecture = 2,  // the kind of network, and where and how keys enter it
  basis = 4,         // the secret
  labels = 8,        // labelled images of the training split
  unlabelled = 16,   // such images without labels
  queries = 32,      // answers of the network for keys and images of his choice
  leaked_keys = 64,  // valid keys
  owner = 128,       // all of the above: the row is no attack but a figure to compare with
  service = 256      // answers of the owner's service, which has a valid key, for images of his choice
};
constexpr unsigned operator|(Know a, Know b) {
  return static_cast<unsigned>(a) | static_cast<unsigned>(b);
}
constexpr unsigned operator|(unsigned a, Know b) {
  return a | static_cast<unsigned>(b);
}
constexpr bool has(unsigned known, Know what) {
  return (known & static_cast<unsigned>(what)) != 0;
}
// Return what is known in words, as a list such as {"weights", "labels"} and as a text such as "weights, labels" or
// "nothing".
std::vector<std::string> knowledge_words(unsigned known);
std::string knowledge_text(unsigned known);

// A preset says what is tried with which budgets. Each one has what the one before it has, or more of it.
enum class Preset { quick, standard, exhaustive };
constexpr auto enum_words(Preset) {
  return std::to_array<std::string_view>({"quick", "standard", "exhaustive"});
}

// The means of one unit of work. What an attack does not use stays 0.
struct Budget {
  std::int64_t images = 0;   // of the attacker, with or without labels as Attack::knows says
  std::int64_t steps = 0;    // of an optimiser
  std::int64_t queries = 0;  // images that a network answers which he does not hold
  std::int64_t keys = 0;     // tried
  std::int64_t leaked = 0;   // valid keys that he has
  std::string variant = {};  // of an attack that comes in several forms
  // In place of `images`, so many thousandths of all that an attacker may have. plan_attacks() makes images of them.
  std::int64_t per_mille = 0;

  bool operator==(const Budget&) const = default;
};
// Returns a text such as "zero, 10 images, 300 steps", or "-" where there is nothing to tell.
std::string budget_text(const Budget& budget);
nlohmann::json to_json(const Budget& budget);

// What the attacker spent.
struct Cost {
  double seconds = 0.0;
  std::int64_t forward = 0, backward = 0;  // images that went through a network
  std::int64_t queries = 0;                // images answered by a network that he does not hold
  std::int64_t labels = 0, unlabelled = 0, leaked = 0;
  std::int64_t trained = 0;  // numbers that were optimised
};

// The outcome of one unit, which is an attack with a budget and an attack seed.
struct Row {
  AccessCounts access;    // over the test split
  double own_loss = 0.0;  // what the attacker sees of his success: choices go by it alone
  nlohmann::json detail = nlohmann::json::object();
};

struct Attack {
  std::string_view id, name;
  unsigned knows;         // bits of Know
  std::uint32_t number;   // of its random streams: never used twice
  std::uint32_t version;  // raised with every change of the procedure, so that kept units are done again
  bool draws;             // several attack seeds tell more than one
  std::vector<Budget> (*budgets)(Preset);
  Row (*run)(AttackContext&, const Budget&);
};

std::span<const Attack> attacks();
// Case does not matter. Error(bad_input) names the nearest id.
const Attack& find_attack(std::string_view id);

// True where the attacker holds the network. Its rejection is then no hindrance, because he reads the class logits
// alone.
inline bool reads_class_logits(const Attack& attack) {
  return has(attack.knows, Know::weights);
}
// True where an attack needs a valid key, the secret that makes them, or a service that has one. Its row says nothing
// about somebody who has none of them.
inline bool needs_valid_key(const Attack& attack) {
  return has(attack.knows, Know::owner) || has(attack.knows, Know::basis) || has(attack.knows, Know::leaked_keys) ||
         has(attack.knows, Know::service);
}

// The attacks, each explained in its file and in docs/attacks.md, and the means that each is given.
#define SPANKEY_ATTACK(id, name, knows, number, version, draws, means, run) \
  Row run(AttackContext& context, const Budget& budget);                    \
  namespace budgets {                                                       \
  std::vector<Budget> means(Preset preset);                                 \
  }
#include "attack/attacks.inc"
#undef SPANKEY_ATTACK

}  // namespace spankey
