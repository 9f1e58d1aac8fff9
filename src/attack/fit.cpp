#include "attack/fit.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <cmath>
#include <memory>

#include "base/error.h"
#include "train/optimizer.h"

namespace spankey {
namespace {

// The batches of one epoch after the other.
class Batches {
 public:
  Batches(const Images& images, const StreamId& order) : images_(images), order_(order) {}

  Images next() {
    const auto size = images_.size();
    if (size <= largest_full_batch) return images_;
    if (begin_ >= size) {
      begin_ = 0;
      ++order_.step;
    }
    if (begin_ == 0) sequence_ = permutation(order_, size);
    const auto end = std::min(size, begin_ + largest_full_batch);
    const std::vector<std::int64_t> chosen(sequence_.begin() + begin_, sequence_.begin() + end);
    begin_ = end;
    const auto rows = at::tensor(chosen, at::kLong).to(images_.x.device());
    return {images_.x.index_select(0, rows),
            images_.labels.defined() ? images_.labels.index_select(0, rows) : at::Tensor()};
  }

 private:
  const Images& images_;
  StreamId order_;
  std::int64_t begin_ = 0;
  std::vector<std::int64_t> sequence_;
};

// One optimiser a leaf: Adam works element by element, so that the division changes nothing.
class Adam {
 public:
  Adam(const std::vector<at::Tensor>& leaves, const FitOptions& options) : leaves_(leaves) {
    Config config;
    config.optim.name = "adam";
    SPANKEY_CHECK(options.rates.empty() || options.rates.size() == leaves.size());
    for (std::size_t i = 0; i < leaves.size(); ++i) {
      const auto& leaf = leaves[i];
      SPANKEY_CHECK(leaf.is_contiguous() && leaf.requires_grad());
      rates_.push_back(rate_tensor(options.rates.empty() ? options.lr : options.rates[i], leaf.device()));
      gradients_.push_back(at::zeros_like(leaf));
      optimizers_.push_back(make_optimizer(config, leaf.detach(), gradients_.back()));
    }
  }

  void step(const at::Tensor& loss) {
    const auto found = torch::autograd::grad({loss}, leaves_, {}, /*retain_graph=*/false, /*create_graph=*/false,
                                             /*allow_unused=*/true);
    const at::NoGradGuard no_grad;
    for (std::size_t i = 0; i < leaves_.size(); ++i) {
      if (found[i].defined())
        gradients_[i].copy_(found[i]);
      else
        gradients_[i].zero_();
      optimizers_[i]->step(rates_[i]);
    }
  }

 private:
  std::vector<at::Tensor> leaves_, gradients_, rates_;
  std::vector<std::unique_ptr<Optimizer>> optimizers_;
};

void require_finite(const at::Tensor& loss, std::int64_t step) {
  if (!std::isfinite(loss.item<double>())) throw SearchFailed(fmt::format("the loss is not finite in step {}", step));
}

}  // namespace

double fit(const std::vector<at::Tensor>& leaves, const Images& images, const BatchLoss& loss,
           const FitOptions& options) {
  SPANKEY_CHECK(images.size() > 0);
  {
    const at::AutoGradMode with_gradients(true);
    Adam adam(leaves, options);
    Batches batches(images, options.order);
    for (std::int64_t step = 0; step < options.steps; ++step) {
      const at::Tensor value = loss(batches.next());
      require_finite(value, step);
      adam.step(value);
      if (options.after_each_step) options.after_each_step();
    }
  }
  const at::NoGradGuard no_grad;
  const at::Tensor last = loss(Batches(images, options.order).next());
  require_finite(last, options.steps);
  return last.item<double>();
}

}  // namespace spankey
