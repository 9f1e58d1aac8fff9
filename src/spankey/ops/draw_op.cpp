#include "spankey/ops/draw_op.h"

#include <ATen/ATen.h>
#include <torch/library.h>

#include <bit>

#include "base/error.h"
#include "spankey/ops/draw_body.h"
#include "spankey/ops/operator_named.h"

namespace spankey {
namespace {

at::Tensor draw_alphas_cpu(const at::Tensor& samples, const at::Tensor& position, std::int64_t law, std::int64_t m,
                           std::int64_t slots, std::int64_t seed, std::int64_t purpose) {
  const std::int64_t n = samples.numel();
  at::Tensor alphas = at::empty({slots, n, m}, at::kFloat);
  const draw_body::Source source{std::bit_cast<std::uint64_t>(seed), static_cast<std::uint32_t>(purpose)};
  for (std::int64_t slot = 0; slot < slots; ++slot)
    for (std::int64_t row = 0; row < n; ++row) {
      float* out = alphas.mutable_data_ptr<float>() + (slot * n + row) * m;
      for (std::int64_t begin = 0; begin < m; begin += 4)
        draw_body::draw_four(static_cast<AlphaLaw>(law), source, position.const_data_ptr<std::int64_t>(),
                             samples.const_data_ptr<std::int64_t>()[row], slot, begin, out, m);
      draw_body::finish_alpha(static_cast<AlphaLaw>(law), out, m);
    }
  return alphas;
}

at::Tensor draw_below_cpu(const at::Tensor& samples, const at::Tensor& position, std::int64_t bound, std::int64_t seed,
                          std::int64_t purpose) {
  at::Tensor drawn = at::empty({samples.numel()}, at::kLong);
  const draw_body::Source source{std::bit_cast<std::uint64_t>(seed), static_cast<std::uint32_t>(purpose)};
  for (std::int64_t i = 0; i < samples.numel(); ++i)
    drawn.mutable_data_ptr<std::int64_t>()[i] =
        draw_body::draw_below(source, position.const_data_ptr<std::int64_t>(),
                              samples.const_data_ptr<std::int64_t>()[i], static_cast<std::uint32_t>(bound));
  return drawn;
}

at::Tensor alpha_std_cpu(const at::Tensor& alphas, const at::Tensor& products, const at::Tensor& sums,
                         const at::Tensor& widths, bool each) {
  const std::int64_t slots = products.size(0);
  at::Tensor std = at::empty({slots, each ? alphas.size(1) : 1}, at::kDouble);
  for (std::int64_t slot = 0; slot < slots; ++slot) {
    const Gram gram{products[slot], sums[slot], widths.const_data_ptr<std::int64_t>()[slot]};
    const at::Tensor of_slot = alphas[alphas.size(0) == 1 ? 0 : slot];
    if (each)
      std[slot].copy_(key_std_rows(gram, of_slot));
    else
      std[slot].fill_(key_std(gram, of_slot));
  }
  return std;
}

at::Tensor scale_alphas_cpu(const at::Tensor& alphas, const at::Tensor& std, double target, std::int64_t begin,
                            std::int64_t end) {
  const std::int64_t slots = std.size(0), rows = end - begin, m = alphas.size(2), step = std.size(1) == 1 ? 0 : 1;
  at::Tensor scaled = at::empty({slots, rows, m}, at::kFloat);
  for (std::int64_t slot = 0; slot < slots; ++slot) {
    const float* from = alphas[alphas.size(0) == 1 ? 0 : slot].const_data_ptr<float>() + begin * m;
    const double* deviations = std[slot].const_data_ptr<double>();
    float* to = scaled[slot].mutable_data_ptr<float>();
    for (std::int64_t i = 0; i < rows * m; ++i)
      to[i] = draw_body::scaled(from[i], draw_body::factor_to(deviations[(begin + i / m) * step], target));
  }
  return scaled;
}

at::Tensor draw_wrong_keys_cpu(const at::Tensor& position, at::IntArrayRef begins, at::IntArrayRef widths,
                               const at::Tensor& target, std::int64_t repeats, std::int64_t seed,
                               std::int64_t purpose) {
  const draw_body::Source source{std::bit_cast<std::uint64_t>(seed), static_cast<std::uint32_t>(purpose)};
  at::Tensor keys = at::empty({begins[widths.size()]}, at::kFloat);
  for (std::size_t slot = 0; slot < widths.size(); ++slot) {
    at::Tensor key = keys.narrow(0, begins[slot], widths[slot]);
    for (std::int64_t block = 0; block < (widths[slot] + 3) / 4; ++block)
      draw_body::draw_normals(source, position.const_data_ptr<std::int64_t>(), static_cast<std::int64_t>(slot), block,
                              key.mutable_data_ptr<float>(), widths[slot]);
    key.mul_(rescale_factor(key_deviation(key, repeats), target.const_data_ptr<double>()[slot]));
  }
  return keys;
}

TORCH_LIBRARY_FRAGMENT(spankey, library) {
  library.def(
      "draw_alphas(Tensor samples, Tensor position, int law, int m, int slots, int seed, int purpose) -> Tensor");
  library.def("draw_below(Tensor samples, Tensor position, int bound, int seed, int purpose) -> Tensor");
  library.def("alpha_std(Tensor alphas, Tensor products, Tensor sums, Tensor widths, bool each) -> Tensor");
  library.def("scale_alphas(Tensor alphas, Tensor std, float target, int begin, int end) -> Tensor");
  library.def(
      "draw_wrong_keys(Tensor position, int[] begins, int[] widths, Tensor target, int repeats, int seed, int purpose) "
      "-> Tensor");
}

TORCH_LIBRARY_IMPL(spankey, CPU, library) {
  library.impl("draw_alphas", draw_alphas_cpu);
  library.impl("draw_below", draw_below_cpu);
  library.impl("alpha_std", alpha_std_cpu);
  library.impl("scale_alphas", scale_alphas_cpu);
  library.impl("draw_wrong_keys", draw_wrong_keys_cpu);
}

}  // namespace

at::Tensor draw_alphas(const at::Tensor& samples, const at::Tensor& position, AlphaLaw law, std::int64_t m,
                       std::int64_t slots, std::uint64_t seed, Purpose purpose) {
  SPANKEY_CHECK(law != AlphaLaw::codebook);
  static const auto handle = operator_named<decltype(draw_alphas_cpu)>("spankey::draw_alphas");
  return handle.call(samples, position, static_cast<std::int64_t>(law), m, slots, std::bit_cast<std::int64_t>(seed),
                     static_cast<std::int64_t>(purpose));
}

at::Tensor draw_below(const at::Tensor& samples, const at::Tensor& position, std::int64_t bound, std::uint64_t seed,
                      Purpose purpose) {
  SPANKEY_CHECK(0 < bound && bound < std::int64_t{1} << 32);
  static const auto handle = operator_named<decltype(draw_below_cpu)>("spankey::draw_below");
  return handle.call(samples, position, bound, std::bit_cast<std::int64_t>(seed), static_cast<std::int64_t>(purpose));
}

at::Tensor alpha_std(const at::Tensor& alphas, const SlotGrams& grams, bool each) {
  SPANKEY_CHECK(alphas.dim() == 3 && (alphas.size(0) == 1 || alphas.size(0) == grams.products.size(0)));
  static const auto handle = operator_named<decltype(alpha_std_cpu)>("spankey::alpha_std");
  return handle.call(alphas, grams.products, grams.sums, grams.widths, each);
}

at::Tensor scale_alphas(const at::Tensor& alphas, const at::Tensor& std, double target, std::int64_t begin,
                        std::int64_t end) {
  SPANKEY_CHECK(alphas.dim() == 3 && (alphas.size(0) == 1 || alphas.size(0) == std.size(0)));
  SPANKEY_CHECK(0 <= begin && begin <= end && end <= alphas.size(1));
  SPANKEY_CHECK(std.dim() == 2 && (std.size(1) == 1 || std.size(1) == alphas.size(1)));
  static const auto handle = operator_named<decltype(scale_alphas_cpu)>("spankey::scale_alphas");
  return handle.call(alphas, std, target, begin, end);
}

std::vector<at::Tensor> draw_wrong_keys(const at::Tensor& position, const std::vector<std::int64_t>& widths,
                                        const at::Tensor& target, std::int64_t repeats, std::uint64_t seed,
                                        Purpose purpose) {
  SPANKEY_CHECK_EQ(std::ssize(widths), target.numel());
  constexpr std::int64_t pack = 8;  // floats that kernels read at once
  std::vector<std::int64_t> begins{0};
  for (const std::int64_t width : widths) begins.push_back(begins.back() + (width + pack - 1) / pack * pack);
  static const auto handle = operator_named<decltype(draw_wrong_keys_cpu)>("spankey::draw_wrong_keys");
  const at::Tensor keys = handle.call(position, begins, widths, target, repeats, std::bit_cast<std::int64_t>(seed),
                                      static_cast<std::int64_t>(purpose));
  std::vector<at::Tensor> slots;
  for (std::size_t slot = 0; slot < widths.size(); ++slot)
    slots.push_back(keys.narrow(0, begins[slot], widths[slot]).view({1, -1}));
  return slots;
}

}  // namespace spankey
