// Measures how sure a network is of the right answer, and how that changes with the key.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "diagnose/key_space.h"
#include "spankey/deny/deny.h"
#include "spankey/models/model.h"

namespace spankey {

// Decides which outputs judge an answer. These are the class logits alone, as somebody with the weights would read
// them, or the outputs as shipped, where the reject class or the reject head may refuse.
struct Judge {
  std::int64_t classes = 0;
  RejectKind reject = RejectKind::none;  // none for the class logits alone

  // Returns scores that are linear in the last layer, (n, classes), then the reject logit where there is one.
  at::Tensor scores(const Output& output) const;
  // Returns the advantage of the label over each rival, (n, ..., columns) -> the same, infinite at the label itself.
  // The class logits and the reject class compete with the label's logit. The reject head competes with 0.
  at::Tensor advantages(const at::Tensor& scores, const at::Tensor& labels) const;
  // Returns the smallest advantage, (n, ...). It is positive where the answer is right and not rejected.
  at::Tensor margin(const at::Tensor& scores, const at::Tensor& labels) const;
};

// The outputs of a trained network as functions of the keys. `keys` is (n or 1, d) for each slot of the space. No
// parameter gets a gradient. The network must be in evaluation mode, where samples do not depend on each other.
class MarginProbe {
 public:
  // Keeps references to network and space.
  MarginProbe(Model& model, const KeySpace& space, Judge judge) : model_(model), space_(space), judge_(judge) {}

  const Judge& judge() const { return judge_; }
  const KeySpace& space() const { return space_; }

  // Returns the margin M, (n) float64.
  at::Tensor margin(const at::Tensor& x, const at::Tensor& labels, const std::vector<at::Tensor>& keys) const;
  // Returns dM/dk, (n, d) for each slot.
  std::vector<at::Tensor> margin_gradient(const at::Tensor& x, const at::Tensor& labels,
                                          const std::vector<at::Tensor>& keys) const;
  // Scores (n, columns), and their derivatives by the keys, (n, columns, d) for each slot. They take one backward pass
  // a column.
  struct Jacobian {
    at::Tensor scores;
    std::vector<at::Tensor> slots;
  };
  Jacobian jacobian(const at::Tensor& x, const std::vector<at::Tensor>& keys) const;

  // Returns M(x; to) - M(x; from) to first order, (n) float64. It is the sum over the injection points of <dM/dh',
  // dh'>, with all gradients from one backward pass at `from`, and dh' = inject(h, to) - inject(h, from) exactly.
  at::Tensor first_order(const at::Tensor& x, const at::Tensor& labels, const std::vector<at::Tensor>& from,
                         const std::vector<at::Tensor>& to) const;
  // Integrates the same along the straight path of the injections (key for add, multiplier for mul) from `from` to `to`
  // by the 8-point Gauss-Legendre rule. The result is the difference itself up to quadrature and kinks.
  at::Tensor path_integral(const at::Tensor& x, const at::Tensor& labels, const std::vector<at::Tensor>& from,
                           const std::vector<at::Tensor>& to) const;

 private:
  at::Tensor site_products(const at::Tensor& x, const at::Tensor& labels, const Injection& at_keys,
                           const Injection& from, const Injection& to) const;
  std::vector<at::Tensor> leaves(const std::vector<at::Tensor>& keys, std::int64_t rows) const;

  Model& model_;
  const KeySpace& space_;
  Judge judge_;
};

}  // namespace spankey
