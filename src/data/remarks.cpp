#include "data/remarks.h"

#include <fmt/format.h>

#include <algorithm>

namespace spankey {
namespace {

constexpr std::size_t most_sentences = 12;

}  // namespace

void Remarks::add(const std::string& kind, const std::string& example) {
  const auto known = std::find_if(entries_.begin(), entries_.end(), [&](const Entry& e) { return e.kind == kind; });
  if (known == entries_.end())
    entries_.push_back({kind, example, 1});
  else
    ++known->count;
}

void Remarks::add(const Remarks& others) {
  for (const Entry& entry : others.entries_) {
    add(entry.kind, entry.example);
    std::find_if(entries_.begin(), entries_.end(), [&](const Entry& e) { return e.kind == entry.kind; })->count +=
        entry.count - 1;
  }
}

std::vector<std::string> Remarks::sentences() const {
  std::vector<std::string> sentences;
  for (const Entry& entry : entries_) {
    if (sentences.size() == most_sentences) {
      sentences.push_back(fmt::format("{} more kinds of remarks", entries_.size() - most_sentences));
      break;
    }
    sentences.push_back(fmt::format("{}: {}, the first {}", entry.kind, entry.count, entry.example));
  }
  return sentences;
}

}  // namespace spankey
