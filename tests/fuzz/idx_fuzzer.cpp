// The reader of IDX files, plain and compressed. The first byte of the input says which of the four files it becomes;
// the others are whole.
#include <array>

#include "base/error.h"
#include "data/import.h"
#include "fuzz/fuzzer.h"

namespace {

using spankey::test::put;
using spankey::test::scratch;

struct File {
  const char* name;
  std::string whole;
};

std::string idx(const std::string& shape, std::size_t values) {
  std::string bytes{'\0', '\0', '\x08', static_cast<char>(shape.size())};
  for (const char extent : shape) bytes += std::string(3, '\0') + extent;
  for (std::size_t i = 0; i < values; ++i) bytes += static_cast<char>(i % 10);
  return bytes;
}

const std::array<File, 4>& files() {
  static const std::array<File, 4> all{{{"train-images-idx3-ubyte", idx("\x03\x02\x02", 12)},
                                        {"train-labels-idx1-ubyte", idx("\x03", 3)},
                                        {"t10k-images-idx3-ubyte", idx("\x02\x02\x02", 8)},
                                        {"t10k-labels-idx1-ubyte", idx("\x02", 2)}}};
  return all;
}

void put_whole(const File& file) {
  put(scratch() / file.name, {reinterpret_cast<const std::uint8_t*>(file.whole.data()), file.whole.size()});
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  for (const auto& file : files()) put_whole(file);
  spankey::import_mnist(scratch(), scratch() / "whole.h5");  // throws where the files above are not good ones
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const auto& file = files()[data[0] % files().size()];
  put(scratch() / file.name, {data + 1, size - 1});
  try {
    spankey::import_mnist(scratch(), scratch() / "out.h5");
  } catch (const spankey::Error&) {
  }
  put_whole(file);
  return 0;
}
