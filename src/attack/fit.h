// The one optimisation loop of the attacks.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <exception>
#include <functional>
#include <string>
#include <vector>

#include "base/stream.h"

namespace spankey {

// Every step sees all images where there are no more than these. Otherwise it sees a minibatch of this size, in an
// order drawn each epoch.
inline constexpr std::int64_t largest_full_batch = 256;

struct Images {
  at::Tensor x;       // (n, ...) float32
  at::Tensor labels;  // (n) int64, undefined where the attacker has none
  std::int64_t size() const { return x.size(0); }
};

struct FitOptions {
  double lr = 0.0;  // of all leaves
  std::int64_t steps = 0;
  StreamId order;                         // of the minibatches; `step` counts the epochs
  std::function<void()> after_each_step;  // may throw to leave
  std::vector<double> rates = {};         // of each leaf, in place of `lr`
};

// Thrown where the loss or the gradient of a search is no number. It ends the unit and nothing else.
class SearchFailed : public std::exception {
 public:
  explicit SearchFailed(std::string why) : why_(std::move(why)) {}
  const char* what() const noexcept override { return why_.c_str(); }

 private:
  std::string why_;
};

// Minimises the mean loss over `images` in `leaves`, in place, by Adam (beta .9 and .999, epsilon 1e-8). The leaves are
// contiguous, floating point, and require gradients. Their .grad is left alone. `loss` returns a scalar for one batch.
// Returns the loss of the first batch after the last step. Throws SearchFailed.
using BatchLoss = std::function<at::Tensor(const Images& batch)>;
double fit(const std::vector<at::Tensor>& leaves, const Images& images, const BatchLoss& loss,
           const FitOptions& options);

}  // namespace spankey
