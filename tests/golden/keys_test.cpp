// keys.h5: bases, keys and their rescaling against the reference implementation.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "golden/golden.h"
#include "spankey/keys/key_maker.h"
#include "spankey/models/model.h"
#include "spankey/models/registry.h"

namespace spankey::keys_test {
namespace {

constexpr double float64_tolerance = 1e-12, float32_tolerance = 2e-6;

// The keys as the injection kernel forms them: 0 + 1 * alpha B.
at::Tensor keys_of(const at::Tensor& alphas, const at::Tensor& basis) {
  const Injection injection =
      Injection::of_alphas({0}, {alphas}, {LayerBasis(basis)}, {.inject = Inject::add, .gamma = 1.0});
  return injection.apply(0, at::zeros({alphas.size(0), basis.size(1)}, alphas.options()));
}

KeyConfig config_of(const h5::File& file, const std::string& group, std::int64_t m) {
  KeyConfig config;
  config.m = m;
  config.rescale = Rescale::batch;
  config.target_std = golden::number(file, group, "target_key_std", 0.0);
  return config;
}

void expect_rows(const at::Tensor& keys, const at::Tensor& checks, double tolerance, const std::string& what) {
  ASSERT_EQ(keys.size(0), checks.size(0)) << what;
  for (std::int64_t r = 0; r < keys.size(0); ++r) golden::expect_check(keys[r], checks[r], tolerance, what);
}

// Everything stored of one span_* group in one precision, under suffix `_f32` or `_f64`.
void check_span(const h5::File& file, const std::string& group, const std::string& suffix, at::ScalarType type,
                double tolerance) {
  const at::Tensor basis = golden::tensor(file, group + "/B_f32");
  const at::Tensor alphas = golden::tensor(file, group + "/alpha_f32").to(type);
  const at::Tensor single = golden::tensor(file, group + "/alpha_single_f32").to(type);
  const std::int64_t n = alphas.size(0);
  const KeyRules rules(config_of(file, group, basis.size(0)), Compat::reference, {{basis}});
  const Gram gram = make_gram(basis);
  const double factor = rules.factors({alphas})[0][0].item<double>();
  const double single_factor = rules.factors({single}, n)[0][0].item<double>();

  const at::Tensor keys = keys_of(alphas, basis), key = keys_of(single, basis);
  const at::Tensor scaled = keys_of(alphas * factor, basis), scaled_single = keys_of(single * single_factor, basis);
  const std::vector<std::pair<std::string, at::Tensor>> tensors = {
      {"k", keys}, {"k_rescaled", scaled}, {"k_single", key}, {"k_single_rescaled", scaled_single[0]}};
  for (const auto& [name, value] : tensors) {
    const std::string dataset = group + "/" + name + suffix;
    if (!file.exists(dataset)) continue;
    const at::Tensor expected = golden::tensor(file, dataset);
    golden::expect_close(value.reshape(expected.sizes()), expected, tolerance, dataset);
  }
  expect_rows(keys, golden::tensor(file, group + "/k_rowcheck" + suffix), tolerance, group + " k rows");
  expect_rows(scaled, golden::tensor(file, group + "/k_rescaled_rowcheck" + suffix), tolerance, group + " scaled rows");
  golden::expect_check(scaled_single, golden::tensor(file, group + "/k_single_rescaled_check" + suffix), tolerance,
                       group + " single scaled");
  const at::Tensor stats = golden::widened(file, group + "/stats" + suffix);
  golden::expect_close(at::tensor({key_std(gram, alphas), factor, key_std(gram, alphas * factor),
                                   key_std(gram, single, n), single_factor, key_std(gram, single * single_factor, n)},
                                  at::kDouble),
                       stats, tolerance, group + " stats");
  golden::expect_close(key_std_rows(gram, alphas.to(at::kDouble) * factor),
                       golden::widened(file, group + "/per_row_std_after" + suffix), tolerance, group + " row std");
}

void check_ortho(const h5::File& file, const std::string& group) {
  const at::Tensor gauss = golden::tensor(file, group + "/gauss_f32");
  const at::Tensor expected = golden::tensor(file, group + "/B_f64");
  const at::Tensor rows = orthonormal_rows(gauss.to(at::kDouble));
  const at::Tensor signs = (rows * expected).sum(1, true).sign();  // a QR's signs are a convention
  golden::expect_close(rows * signs, expected, float64_tolerance, group + "/B_f64");
  golden::expect_close((rows * signs).to(at::kFloat), golden::tensor(file, group + "/B_f32"), float32_tolerance,
                       group + "/B_f32");
  golden::expect_close(make_gram(golden::tensor(file, group + "/B_f32")).products,
                       golden::tensor(file, group + "/gram_f64"), float64_tolerance, group + "/gram_f64");
  const at::Tensor raw = golden::tensor(file, group + "/noscale_noortho_B_f32");
  golden::expect_close(gauss.narrow(1, 0, raw.size(1)), raw, 0.0, group + " raw draws");
}

// The keys of one layer against their first 16 columns, row checks and the standard deviation of the whole.
void expect_layer(const h5::File& file, const std::string& prefix, const at::Tensor& keys) {
  const at::Tensor first = golden::tensor(file, prefix + "_first16");
  golden::expect_close(keys.narrow(1, 0, first.size(1)), first, float64_tolerance, prefix + "_first16");
  expect_rows(keys, golden::tensor(file, prefix + "_rowcheck"), float64_tolerance, prefix + "_rowcheck");
  golden::expect_close(keys.std().item<double>(), golden::tensor(file, prefix + "_std")[0].item<double>(),
                       float64_tolerance, prefix + "_std");
}

void check_layered(const h5::File& file, const std::string& group) {
  // The keys were recorded in example 05, whose network gives the widths.
  const auto points = make_model("small_cnn", {.sample_shape = {1, 28, 28}})->injection_points();
  KeyConfig config = config_of(file, group, file.int_attribute(group, "m"));
  config.layers = file.ints_attribute(group, "layers");
  config.per_layer_key = golden::flag(file, group, "per_layer_key");
  if (golden::flag(file, group, "per_layer_basis")) config.layout = Layout::per_layer;
  Basis basis;
  for (const std::int64_t layer : config.layers) {
    const std::string own = group + "/B" + std::to_string(layer) + "_f32";
    const at::Tensor stored = golden::tensor(file, file.exists(own) ? own : group + "/B_f32");
    basis.layers.push_back(stored.narrow(1, 0, points[static_cast<std::size_t>(layer)].size()).contiguous());
  }
  const KeyRules rules(config, Compat::reference, basis);
  std::vector<at::Tensor> alphas, gauss;
  for (std::int64_t s = 0; s < rules.alpha_slots(); ++s)
    alphas.push_back(golden::widened(file, group + "/alpha" + std::to_string(s) + "_f32"));
  for (std::int64_t s = 0; s < rules.key_slots(); ++s)
    gauss.push_back(golden::widened(file, group + "/gauss" + std::to_string(s) + "_f32"));
  const std::int64_t n = file.int_attribute(group, "n");
  const auto factors = rules.factors(alphas);
  const auto wrong = rules.wrong_keys(gauss, n, {});
  for (std::size_t i = 0; i < config.layers.size(); ++i) {
    const std::string layer = "_layer" + std::to_string(config.layers[i]);
    expect_layer(file, group + "/correct" + layer,
                 keys_of(alphas[alphas.size() == 1 ? 0 : i] * factors[i].unsqueeze(1), basis.layers[i]));
    expect_layer(file, group + "/wrong" + layer, wrong[i].expand({n, -1}));
  }
}

void check_differentiable(const h5::File& file, const std::string& group) {
  const at::Tensor basis = golden::widened(file, group + "/B_f32");
  at::Tensor alpha = golden::widened(file, group + "/alpha_f32").requires_grad_();
  const at::Tensor key = rescale_differentiably(alpha.matmul(basis), file.double_attribute(group, "target_key_std"));
  golden::expect_close(key, golden::tensor(file, group + "/k"), float64_tolerance, group + "/k");
  (key * golden::widened(file, group + "/upstream_f32")).sum().backward();
  golden::expect_close(alpha.grad(), golden::tensor(file, group + "/dalpha"), float64_tolerance, group + "/dalpha");
}

TEST(Golden, KeysMatchTheReference) {
  const h5::File file = golden::open("keys.h5");
  golden::Tally tally("keys.h5");
  golden::expect_known(file, "/", {}, {}, {"span_*", "ortho_*", "layered_*", "diff_rescale_*"});
  for (const std::string& name : file.groups("/")) {
    const std::string group = "/" + name;
    SCOPED_TRACE(group);
    if (name.starts_with("span_")) {
      golden::expect_known(file, group, {"m", "d", "n", "basis_seed", "alpha_seed", "target_key_std"},
                           {"B_f32", "alpha_f32", "alpha_single_f32", "k_f??", "k_single_f??", "k_rescaled_f??",
                            "k_single_rescaled_f??", "k_rowcheck_f??", "k_rescaled_rowcheck_f??",
                            "k_single_rescaled_check_f??", "stats_f??", "per_row_std_after_f??"});
      check_span(file, group, "_f64", at::kDouble, float64_tolerance);
      check_span(file, group, "_f32", at::kFloat, float32_tolerance);
    } else if (name.starts_with("ortho_")) {
      golden::expect_known(file, group, {"m", "d", "basis_seed"},
                           {"B_f32", "B_f64", "gauss_f32", "gram_f64", "noscale_noortho_B_f32"});
      check_ortho(file, group);
    } else if (name.starts_with("layered_")) {
      golden::expect_known(file, group,
                           {"m", "n", "layers", "basis_seed", "per_layer_key", "per_layer_basis", "target_key_std"},
                           {"B_f32", "B[0-9]*_f32", "alpha[0-9]*_f32", "gauss[0-9]*_f32", "correct_layer*_first16",
                            "correct_layer*_rowcheck", "correct_layer*_std", "wrong_layer*_first16",
                            "wrong_layer*_rowcheck", "wrong_layer*_std"});
      check_layered(file, group);
    } else if (name.starts_with("diff_rescale_")) {
      golden::expect_known(file, group, {"m", "d", "target_key_std"},
                           {"B_f32", "alpha_f32", "dalpha", "k", "upstream_f32"});
      check_differentiable(file, group);
    } else {
      continue;  // reported above
    }
    tally.run();
  }
}

}  // namespace
}  // namespace spankey::keys_test
