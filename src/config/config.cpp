#include "config/config.h"

#include <algorithm>

#include "base/digest.h"
#include "base/error.h"
#include "config/entries.h"
#include "config/value.h"

namespace spankey {
namespace {

// Optimal string alignment distance, which counts insertions, deletions, replacements and swaps of neighbours.
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> before(b.size() + 1);
  std::vector<std::size_t> previous(b.size() + 1);
  std::vector<std::size_t> current(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) previous[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    current[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replaced = previous[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      current[j] = std::min({previous[j] + 1, current[j - 1] + 1, replaced});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        current[j] = std::min(current[j], before[j - 2] + 1);
      }
    }
    before.swap(previous);
    previous.swap(current);
  }
  return previous[b.size()];
}

std::string folded(std::string_view word) {
  std::string text = lower_case(word);
  std::replace(text.begin(), text.end(), '-', '_');
  return text;
}

}  // namespace

bool operator==(const Config& a, const Config& b) {
  const auto left = entries(a);
  const auto right = entries(b);
  return std::equal(left.begin(), left.end(), right.begin(), right.end(),
                    [](const Entry& x, const Entry& y) { return x.value == y.value; });
}

std::string to_toml(const Config& config) {
  std::string text;
  std::string_view table;
  const auto all = entries(config);
  for (const Entry& entry : all) {
    if (entry.table != table) {
      text += fmt::format("{}[{}]\n", text.empty() ? "" : "\n", entry.table);
      table = entry.table;
    }
    text += fmt::format("{} = {}\n", entry.name(), entry.value);
  }
  return text;
}

std::string config_hash(const Config& config, std::string_view data_digest) {
  static const auto defaults = entries(Config{});
  const auto all = entries(config);
  std::vector<std::string> lines;
  for (std::size_t i = 0; i < all.size(); ++i) {
    const Entry& entry = all[i];
    // A key that came later leaves the hashes of runs before it as they were.
    if (!entry.hashed || (entry.later && entry.canonical == defaults[i].canonical)) continue;
    lines.push_back(fmt::format("{} = {}\n", entry.key, entry.canonical));
  }
  lines.push_back(fmt::format("data.digest = {}\n", data_digest));
  // Sorted, so that moving a line of a field list does not change the hash of a run.
  std::sort(lines.begin(), lines.end());
  Sha256 sum;
  for (const std::string& line : lines) sum.update(line);
  return to_hex(sum.finish());
}

std::vector<std::string> config_diff(const Config& a, const Config& b, bool hashed_only) {
  const auto left = entries(a);
  const auto right = entries(b);
  std::vector<std::string> differences;
  for (std::size_t i = 0; i < left.size(); ++i) {
    if (left[i].canonical == right[i].canonical || (hashed_only && !left[i].hashed && !right[i].hashed)) continue;
    differences.push_back(fmt::format("{}: {} -> {}", left[i].key, left[i].value, right[i].value));
  }
  return differences;
}

void fail_key(const Config& config, std::string_view table_key, std::string_view problem) {
  const auto all = entries(config);
  const auto entry = std::find_if(all.begin(), all.end(), [&](const Entry& e) { return e.key == table_key; });
  SPANKEY_CHECK(entry != all.end());
  const auto origin = config.origins.find(table_key);
  fail_input("{}: {} = {}: {}", origin == config.origins.end() ? "default" : origin->second, table_key, entry->value,
             problem);
}

std::string nearest(std::string_view word, std::span<const std::string> candidates) {
  const std::string wanted = folded(word);
  std::string best;
  std::size_t best_distance = 0;
  for (const std::string& candidate : candidates) {
    const std::size_t longest = std::max(wanted.size(), candidate.size());
    const std::size_t distance = edit_distance(wanted, folded(candidate));
    // A third of the letters may be wrong. A single letter is near only to itself.
    const bool near = distance == 0 || (distance < longest && distance <= std::max<std::size_t>(1, longest / 3));
    if (near && (best.empty() || distance < best_distance)) {
      best = candidate;
      best_distance = distance;
    }
  }
  if (!best.empty() || wanted.size() < 3) return best;
  // Recognises a word that is part of the other, such as "batch" of "global_batch".
  for (const std::string& candidate : candidates) {
    const std::string other = folded(candidate);
    if (other.find(wanted) != std::string::npos || (other.size() >= 3 && wanted.find(other) != std::string::npos)) {
      return candidate;
    }
  }
  return best;
}

}  // namespace spankey
