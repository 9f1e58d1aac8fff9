#include "spankey/ops/permute_op.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "base/error.h"

namespace spankey {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// The dense memory of `h` as (n, d), whatever its memory format.
at::Tensor as_matrix(const at::Tensor& h) {
  return h.as_strided({h.size(0), h.numel() / h.size(0)}, {h.numel() / h.size(0), 1});
}

// out[row][i] = in[row][order[i]] for contiguous matrices. An element is as wide as T, whatever its type.
template <class T>
void gather(const at::Tensor& in, const at::Tensor& order, const at::Tensor& out) {
  const std::int64_t d = in.size(1);
  const auto* from = static_cast<const T*>(in.const_data_ptr());
  auto* to = static_cast<T*>(out.mutable_data_ptr());
  const auto* index = order.const_data_ptr<std::int64_t>();
  at::parallel_for(0, in.size(0), std::max<std::int64_t>(1, 32768 / d), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row)
      for (std::int64_t i = 0; i < d; ++i) to[row * d + i] = from[row * d + index[i]];
  });
}

void gather_rows(const at::Tensor& in, const at::Tensor& order, const at::Tensor& out) {
  if (order.numel() == 0) {
    out.copy_(in);
    return;
  }
  SPANKEY_CHECK_EQ(order.numel(), in.size(1));
  if (!in.is_cpu()) {
    out.copy_(in.index_select(1, order));
    return;
  }
  switch (in.element_size()) {
    case 2:
      return gather<std::uint16_t>(in, order, out);
    case 4:
      return gather<std::uint32_t>(in, order, out);
    default:
      SPANKEY_CHECK(in.element_size() == 8);
      return gather<std::uint64_t>(in, order, out);
  }
}

at::Tensor inverse_order(const at::Tensor& order) {
  if (order.numel() == 0) return order;
  return at::empty_like(order).scatter_(0, order, at::arange(order.numel(), order.options()));
}

class PermuteFunction : public torch::autograd::Function<PermuteFunction> {
 public:
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& h, const std::vector<at::Tensor>& orders,
                            at::IntArrayRef rows) {
    at::AutoDispatchBelowADInplaceOrView below;
    SPANKEY_CHECK(h.is_non_overlapping_and_dense());
    SPANKEY_CHECK_EQ(orders.size(), rows.size());
    ctx->save_for_backward(orders);
    ctx->saved_data["rows"] = rows;
    ctx->saved_data["format"] = static_cast<std::int64_t>(h.suggest_memory_format());
    at::Tensor out = at::empty_like(h);
    if (h.numel() == 0) return out;
    const at::Tensor from = as_matrix(h), to = as_matrix(out);
    std::int64_t first = 0;
    for (std::size_t p = 0; p < rows.size(); first += rows[p], ++p)
      gather_rows(from.narrow(0, first, rows[p]), orders[p], to.narrow(0, first, rows[p]));
    SPANKEY_CHECK_EQ(first, h.size(0));
    return out;
  }

  static variable_list backward(AutogradContext* ctx, variable_list gradients) {
    std::vector<at::Tensor> back;
    for (const at::Tensor& order : ctx->get_saved_variables()) back.push_back(inverse_order(order));
    const auto rows = ctx->saved_data["rows"].toIntVector();
    const auto format = static_cast<at::MemoryFormat>(ctx->saved_data["format"].toInt());
    return {permute_elements(gradients[0].contiguous(format), back, rows), at::Tensor(), at::Tensor()};
  }
};

}  // namespace

at::Tensor permute_elements(const at::Tensor& h, at::TensorList orders, at::IntArrayRef rows) {
  return PermuteFunction::apply(h, orders.vec(), rows);
}

}  // namespace spankey
