// How keys enter a network: h' = h + gamma k, or h' = h * multiplier(gamma, k), element by element; the multiplier is
// clamp(1 + gamma tanh k, 0.1, 2) (arXiv 2604.12254, section on injection; reference implementation, example 04,
// inject_add and inject_mul), exp(gamma tanh k), or 1 + min(gamma, 0.9) tanh k (sym): the latter two are never cut off.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "config/enums.h"
#include "spankey/keys/basis.h"
#include "spankey/ops/inject_op.h"

namespace spankey {

class Injection;

// A place in a network where a key may enter; `shape` of one sample's activation, (C, H, W) or (D).
struct InjectionPoint {
  std::string name;
  std::vector<std::int64_t> shape;
  std::int64_t size() const;
};

struct InjectionKind {
  Inject inject = Inject::mul;
  double gamma = 0.5;
  Multiplier multiplier = Multiplier::clamp;
};

// One injection point of a forward pass, for a layer that may let the key in itself. `injection` may be null: no key.
struct KeyedPoint {
  const Injection* injection = nullptr;
  std::int64_t point = 0;

  at::Tensor apply(const at::Tensor& h) const;
  // The keys for an activation of h's shape, type and memory, where h' may be formed by another operator than inject();
  // no parts where there is no key, and none where an observer wants to see h.
  InjectArguments arguments(const at::Tensor& h) const;
};

// The keys of one forward pass: what a network asks at each of its injection points. Cheap to copy.
// A key belongs to the flattened activation in (C, H, W) order, whatever the memory format of the activation is.
class Injection {
 public:
  // No key: apply() returns its argument.
  static Injection none();

  // Full keys, one tensor (n or 1, d_l) for each entry of `layers` (indices of injection points); one row serves the
  // whole batch. The keys may require gradients.
  static Injection of_keys(const std::vector<std::int64_t>& layers, std::vector<at::Tensor> keys, InjectionKind kind);

  // The multipliers themselves, in place of keys: h' = h * multiplier. Shapes as of of_keys().
  static Injection of_multipliers(const std::vector<std::int64_t>& layers, std::vector<at::Tensor> multipliers);

  // Keys alpha B, formed inside the kernel. `alphas`: (n or 1, m), scaled already, one for each layer or a single one
  // that all layers share; `bases`: one for each layer.
  static Injection of_alphas(const std::vector<std::int64_t>& layers, std::vector<at::Tensor> alphas,
                             const std::vector<LayerBasis>& bases, InjectionKind kind);

  // Several passes as one batch: the first part's rows, then the second's, ... Keyed parts share one kind.
  static Injection stack(const std::vector<std::pair<Injection, std::int64_t>>& parts);

  // The same keys; apply() reports every activation before and after it, keyed or not (tests, diagnostics).
  using Observer = std::function<void(std::int64_t point, const at::Tensor& before, const at::Tensor& after)>;
  Injection observed(Observer observer) const;

  // `h`: (rows, ...) activation at injection point `point`; returned as it is where that point carries no key.
  at::Tensor apply(std::int64_t point, const at::Tensor& h) const;

  KeyedPoint at(std::int64_t point) const { return {this, point}; }

  // The keys at injection point `point` of a single pass, formed: (n or 1, d_l) in (C, H, W) order; undefined where it
  // carries none.
  at::Tensor keys_at(std::int64_t point) const;

  // False where apply() would return its argument and tell no observer.
  bool acts_at(std::int64_t point) const { return observer_ || keyed_at(point); }

 private:
  friend struct KeyedPoint;
  struct Slot {
    std::int64_t point;
    at::Tensor coefficients;        // (n or 1, m) with a basis, (n or 1, d) without
    std::vector<LayerBasis> basis;  // none or one
  };
  struct Part {
    std::int64_t rows;  // -1: as many as the batch has
    std::vector<Slot> slots;
  };
  const Slot* find(const Part& part, std::int64_t point) const;
  bool keyed_at(std::int64_t point) const;
  static at::Tensor whole_key(const Slot& slot);  // (n or 1, d)
  at::Tensor apply_keys(std::int64_t point, const at::Tensor& h) const;
  InjectArguments arguments(std::int64_t point, const at::Tensor& dense) const;

  InjectMode mode_ = InjectMode::add;
  double gamma_ = 0.0;
  std::vector<Part> parts_;
  Observer observer_;
};

// Keys of rows begin .. end-1 of a global batch, for as many shards as it has. What depends on the whole batch
// (key.rescale = "batch") has been drawn and summed before.
using RowKeys = std::function<Injection(std::int64_t begin, std::int64_t end)>;

}  // namespace spankey
