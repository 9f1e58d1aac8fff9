// Reduced precision. While a Bf16Scope exists, convolutions, matrix products and attention of this thread read and
// write bfloat16 (LibTorch's autocast). Parameters and their gradients stay float32. Normalisations keep their
// statistics in float32, and keys enter in float32 (Injection::apply).
#pragma once

#include <c10/core/DeviceType.h>

namespace spankey {

class Bf16Scope {
 public:
  explicit Bf16Scope(c10::DeviceType device);  // where the network lives
  ~Bf16Scope();
  Bf16Scope(const Bf16Scope&) = delete;
  Bf16Scope& operator=(const Bf16Scope&) = delete;

 private:
  c10::DeviceType device_;
  bool was_enabled_;
};

// True inside a scope of this thread for the CPU.
bool in_bf16_scope();

// True if the processor has instructions for bfloat16 (AVX512_BF16 or AMX_BF16). Without them bfloat16 would be slower
// than float32.
bool cpu_has_bf16();

// Makes cpu_has_bf16() return false, for tests.
void hide_bf16(bool hide);

}  // namespace spankey
