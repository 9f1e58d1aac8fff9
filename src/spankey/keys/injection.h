// How keys enter a network. The activation becomes h' = h + gamma k, or h' = h * multiplier(gamma, k), element by
// element. The multiplier is clamp(1 + gamma tanh k, 0.1, 2) (arXiv 2604.12254, section on injection, and reference
// implementation, example 04, inject_add and inject_mul), exp(gamma tanh k), 1 + min(gamma, 0.9) tanh k (sym), or
// tanh(5 k) (sign). The latter three are never clamped. At some points the key may also say in which order the features
// of h' go on (permutation.h).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "config/enums.h"
#include "spankey/keys/basis.h"
#include "spankey/keys/permutation.h"
#include "spankey/ops/inject_op.h"

namespace spankey {

class Injection;

// A place in a network where a key may enter. `shape` is that of one sample's activation, (C, H, W) or (D).
struct InjectionPoint {
  std::string name;
  std::vector<std::int64_t> shape;
  std::int64_t size() const;
};

struct InjectionKind {
  Inject inject = Inject::mul;
  double gamma = 0.5;
  Multiplier multiplier = Multiplier::clamp;
  std::vector<PermutedPoint> permuted = {};  // where the signs of the key also decide the order of the features
};

// How the keys of a configuration enter its network.
InjectionKind injection_kind(const Config& config);

// One injection point of a forward pass, for a layer whose own kernel can apply the key. A null `injection` means no
// key.
struct KeyedPoint {
  const Injection* injection = nullptr;
  std::int64_t point = 0;

  at::Tensor apply(const at::Tensor& h) const;
  // The keys for an activation of h's shape, type and memory format, for an operator other than inject() that forms h'.
  // There are no parts where there is no key, where an observer wants to see h, or where features change places.
  InjectArguments arguments(const at::Tensor& h) const;
};

// The keys of one forward pass. A network calls this at each of its injection points. It is cheap to copy. A key
// belongs to the flattened activation in (C, H, W) order, whatever the memory format of the activation is.
class Injection {
 public:
  // The pass without a key. apply() returns its argument.
  static Injection none();

  // Takes full keys, one tensor (n or 1, d_l) for each entry of `layers` (indices of injection points). One row serves
  // the whole batch. The keys may require gradients. The order of the features at permuted points has none, and all
  // rows must have the same signs where there are such points.
  static Injection of_keys(const std::vector<std::int64_t>& layers, std::vector<at::Tensor> keys,
                           const InjectionKind& kind);

  // Takes the multipliers themselves in place of keys, h' = h * multiplier. The shapes are those of of_keys().
  static Injection of_multipliers(const std::vector<std::int64_t>& layers, std::vector<at::Tensor> multipliers);

  // Takes coefficients of keys alpha B, which are formed inside the kernel. `alphas` are (n or 1, m) and already
  // scaled, one for each layer or a single one that all layers share. `bases` has one for each layer. `permutation` is
  // what cone_permutation() makes of the bases, needed where there are permuted points.
  static Injection of_alphas(const std::vector<std::int64_t>& layers, std::vector<at::Tensor> alphas,
                             const std::vector<LayerBasis>& bases, const InjectionKind& kind,
                             std::shared_ptr<const Permutation> permutation = {});

  // Stacks several passes into one batch, with the first part's rows first, then the second's, and so on. Parts with
  // keys have the same kind.
  static Injection stack(const std::vector<std::pair<Injection, std::int64_t>>& parts);

  // Returns the same injection of a single pass with other whole keys, one (n or 1, d_l) for each injection point that
  // has one, in the order in which the points were given. The keys may require gradients.
  Injection with_keys(const std::vector<at::Tensor>& keys) const;

  // Returns the same keys with an observer. apply() reports every activation before and after it to the observer, with
  // or without a key (tests, diagnostics).
  using Observer = std::function<void(std::int64_t point, const at::Tensor& before, const at::Tensor& after)>;
  Injection observed(Observer observer) const;

  // Applies the key to activation `h`, (rows, ...), of injection point `point`: first the multiplier or the addition,
  // then the order of the features. Returns `h` itself where that point has neither.
  at::Tensor apply(std::int64_t point, const at::Tensor& h) const;

  KeyedPoint at(std::int64_t point) const { return {this, point}; }

  // Forms the keys of a single pass at injection point `point`, (n or 1, d_l) in (C, H, W) order. Undefined where it
  // has none.
  at::Tensor keys_at(std::int64_t point) const;

  // False where apply() would return its argument and call no observer.
  bool acts_at(std::int64_t point) const { return observer_ || keyed_at(point) || permuted_at(point); }

 private:
  friend struct KeyedPoint;
  struct Slot {
    std::int64_t point;
    at::Tensor coefficients;        // (n or 1, m) with a basis, (n or 1, d) without
    std::vector<LayerBasis> basis;  // none or one
  };
  struct Part {
    std::int64_t rows;  // -1 for as many as the batch has
    std::vector<Slot> slots;
    std::shared_ptr<const Permutation> permutation = {};  // null for none
  };
  const Slot* find(const Part& part, std::int64_t point) const;
  bool keyed_at(std::int64_t point) const;
  bool permuted_at(std::int64_t point) const;
  static at::Tensor whole_key(const Slot& slot);  // (n or 1, d)
  at::Tensor apply_keys(std::int64_t point, const at::Tensor& h) const;
  at::Tensor permute(std::int64_t point, const at::Tensor& h) const;
  InjectArguments arguments(std::int64_t point, const at::Tensor& dense) const;

  InjectMode mode_ = InjectMode::add;
  double gamma_ = 0.0;
  std::vector<Part> parts_;
  Observer observer_;
};

// Returns the keys of rows begin .. end-1 of a global batch, for any number of shards. What depends on the whole batch
// (key.rescale = "batch") has been drawn and summed before.
using RowKeys = std::function<Injection(std::int64_t begin, std::int64_t end)>;

}  // namespace spankey
