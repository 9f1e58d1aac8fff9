// A disk that loses power, after SQLite's test6: what the file system was not told to keep is kept, lost or garbled at
// random, sector by sector, and names may change before the data behind them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <random>
#include <string>
#include <variant>
#include <vector>

#include "faults/injector.h"

namespace spankey::test {

// Records what happens in one folder from construction on (through faults::arm) and replays it up to a random moment.
class PowerLoss {
 public:
  explicit PowerLoss(const std::filesystem::path& folder);
  ~PowerLoss();
  PowerLoss(const PowerLoss&) = delete;
  PowerLoss& operator=(const PowerLoss&) = delete;

  // "So far is done": what the program has told its caller.
  void mark(int done);
  void stop();

  std::size_t events() const { return events_.size(); }
  std::size_t syncs() const;

  struct State {
    int done = 0;  // the last mark before the power went
    std::map<std::string, std::vector<std::byte>> files;
  };
  // What the disk holds after a loss of power at a moment that follows from the seed.
  State after(std::uint64_t seed) const;
  static void materialize(const State& state, const std::filesystem::path& folder);

 private:
  struct Write {
    std::uint64_t inode;
    std::int64_t offset;
    std::vector<std::byte> bytes;
  };
  struct Name {  // a name that appears, moves or goes (inode 0)
    std::string gone, name;
    std::uint64_t inode;
  };
  struct Sync {
    std::uint64_t inode;  // 0: of the folder
  };
  using Happening = std::variant<Write, Name, Sync, int>;

  void record(const faults::Event& event);

  std::vector<Happening> events_;
  bool recording_ = true;
};

}  // namespace spankey::test
