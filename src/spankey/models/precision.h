// Reduced precision: while a scope lives, convolutions, matrix products and attention of this thread take
// and give bfloat16 (LibTorch's autocast). Parameters stay float32 and so do their gradients; normalisations keep their
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

// In a scope of this thread for the CPU.
bool in_bf16_scope();

// The processor has instructions for bfloat16 (AVX512_BF16 or AMX_BF16); without them it would be slower than float32.
bool cpu_has_bf16();

// For tests: pretend that it has none.
void hide_bf16(bool hide);

}  // namespace spankey
