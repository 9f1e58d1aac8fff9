// What the fuzzers share. A reader may refuse a file with an Error and nothing else: any other exception ends the
// process, which libFuzzer reports.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <span>

#include "support/temporary_folder.h"

namespace spankey::test {

// One for the whole process, removed at its end. TMPDIR is in memory (tests/fuzz/run).
inline const std::filesystem::path& scratch() {
  static const TemporaryFolder folder;
  return folder.path();
}

inline void put(const std::filesystem::path& path, std::span<const std::uint8_t> bytes) {
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
}

}  // namespace spankey::test
