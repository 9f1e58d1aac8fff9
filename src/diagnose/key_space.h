// The spaces that keys are vectors of, with the span of the secret basis in each.
//
// A slot is one key vector. With key.layout = "shared_prefix" and one alpha for all layers, all layers use prefixes of
// the same vector, so there is one slot, as wide as the widest layer. Otherwise each layer has a slot of its own.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "config/config.h"
#include "spankey/keys/basis.h"
#include "spankey/keys/injection.h"

namespace spankey {

struct KeySlot {
  at::Tensor frame;                  // (m, d) float64, orthonormal rows that span Span(B)
  at::Tensor gram;                   // (m, m) float64, B B^T
  at::Tensor mean_direction;         // (d) float64, unit vector along 1 B, the mean of keys of nonnegative coefficients
  std::vector<std::int64_t> layers;  // positions in key.layers of the layers that use it
  std::int64_t widest = 0;           // the one of them that uses the whole slot

  std::int64_t dimension() const { return frame.size(0); }
  std::int64_t width() const { return frame.size(1); }
};

class KeySpace {
 public:
  KeySpace(const KeyConfig& config, const Basis& basis);

  const std::vector<KeySlot>& slots() const { return slots_; }
  const std::vector<std::int64_t>& points() const { return points_; }  // injection points, key.layers
  std::vector<std::int64_t> points_of(const KeySlot& slot) const;      // those that use the slot
  const InjectionKind& kind() const { return kind_; }
  std::int64_t width() const;  // of all slots together

  // Returns the keys of a single pass, which has keys at all configured layers. They are (n or 1, d) for each slot.
  std::vector<at::Tensor> keys_of(const Injection& injection) const;
  // Returns zero keys, (rows, d) for each slot. They stand for the network without a key, and for its derivatives with
  // respect to keys.
  std::vector<at::Tensor> no_keys(std::int64_t rows, at::ScalarType type) const;

  // `keys` is as keys_of() returns it. Gradients flow through.
  Injection injection(const std::vector<at::Tensor>& keys) const { return injection(keys, kind_); }
  Injection injection(const std::vector<at::Tensor>& keys, const InjectionKind& kind) const;

 private:
  std::vector<std::int64_t> points_;
  std::vector<std::int64_t> widths_;  // of the layers
  std::vector<KeySlot> slots_;
  InjectionKind kind_;
};

// Energy of rows in a slot's span and along its mean direction, float64 (n) each.
struct SpanEnergy {
  at::Tensor total;           // |g|^2
  at::Tensor in_span;         // |gP|^2
  at::Tensor along_mean;      // (g . u)^2, u = mean_direction
  at::Tensor mean_component;  // g . u
};
SpanEnergy span_energy(const at::Tensor& rows, const KeySlot& slot);

}  // namespace spankey
