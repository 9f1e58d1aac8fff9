// What an import tells about its sources once, with a count, instead of once for each file.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace spankey {

class Remarks {
 public:
  // `kind`: what is the matter; `example`: where, shown for the first of the kind.
  void add(const std::string& kind, const std::string& example);
  void add(const Remarks& others);

  // "<kind>: <count>, the first <example>", in the order in which the kinds came; of very many kinds the first ones and
  // how many more there are.
  std::vector<std::string> sentences() const;

 private:
  struct Entry {
    std::string kind, example;
    std::int64_t count;
  };
  std::vector<Entry> entries_;
};

}  // namespace spankey
