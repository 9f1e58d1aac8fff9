// Collects what an import reports about its sources, so that it is told once with a count instead of once for each
// file.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace spankey {

class Remarks {
 public:
  // `kind` says what is wrong. `example` says where, and is shown for the first of the kind.
  void add(const std::string& kind, const std::string& example);
  void add(const Remarks& others);

  // Sentences "<kind>: <count>, the first <example>", in the order in which the kinds came. If there are very many
  // kinds, they are the first ones and a count of the others.
  std::vector<std::string> sentences() const;

 private:
  struct Entry {
    std::string kind, example;
    std::int64_t count;
  };
  std::vector<Entry> entries_;
};

}  // namespace spankey
