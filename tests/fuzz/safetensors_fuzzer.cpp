// The reader of safetensors images. With --seed FILE it writes an input to begin with and ends.
#include <ATen/ATen.h>

#include <cstdlib>
#include <string_view>

#include "base/error.h"
#include "base/file.h"
#include "fuzz/fuzzer.h"
#include "keyring/safetensors.h"

extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
  if (*argc == 3 && std::string_view((*argv)[1]) == "--seed") {
    spankey::write_durably((*argv)[2], spankey::encode_safetensors({.tensors = {{"weight", at::ones({2, 3})},
                                                                                {"mean", at::ones({3}, at::kDouble)},
                                                                                {"count", at::ones({}, at::kLong)}},
                                                                    .metadata = {{"architecture", "mlp"}}}));
    std::exit(0);
  }
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    spankey::decode_safetensors({reinterpret_cast<const std::byte*>(data), size}, "input");
  } catch (const spankey::Error&) {
  }
  return 0;
}
