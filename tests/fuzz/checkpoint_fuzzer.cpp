// The reader of checkpoints. Every input gets a footer that fits: a hostile file has one. Without it nothing behind the
// checksum would ever be reached.
#include <ATen/ops/ones.h>

#include <fstream>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/sealed_file.h"
#include "fuzz/fuzzer.h"
#include "train/checkpoint.h"

namespace {

std::vector<std::byte> seed() {
  const spankey::Checkpoint checkpoint{.cursor = {.epoch = 1, .step = 2, .global_step = 3},
                                       .config_toml = "x = 1",
                                       .config_hash = "hash",
                                       .basis_digest = "basis",
                                       .data_digest = "data",
                                       .program = "spankey",
                                       .computed_on = "1 thread, cpu",
                                       .parameters = {{"weight", at::ones({2, 3})}},
                                       .buffers = {{"mean", at::ones({3})}},
                                       .optimizer = {{"exp_avg/weight", at::ones({2, 3})}}};
  auto bytes = spankey::encode_checkpoint(checkpoint);
  bytes.resize(spankey::checked_image(bytes, "seed").size());
  return bytes;
}

}  // namespace

// With --seed FILE: writes an input to begin with and ends.
extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
  if (*argc == 3 && std::string_view((*argv)[1]) == "--seed") {
    spankey::write_durably((*argv)[2], seed());
    std::exit(0);
  }
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto* bytes = reinterpret_cast<const std::byte*>(data);
  std::vector<std::byte> file(bytes, bytes + size);
  spankey::append_footer(file);
  try {
    spankey::decode_checkpoint(file, "input");
  } catch (const spankey::Error&) {
  }
  return 0;
}
