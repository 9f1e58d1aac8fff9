// models.h5: forward pass and every gradient of the networks, with and without keys.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "golden/network.h"

namespace spankey::models_test {
namespace {

struct Case {
  InjectionKind kind;
  std::vector<std::int64_t> layers;
  bool key_rows = false;
  bool train = true;
};

struct Site {
  at::Tensor before, after;
};

struct Run {
  Output output;
  double loss = 0;
  at::Tensor x;
  std::vector<at::Tensor> keys;  // of the case's layers
  std::map<std::int64_t, Site> sites;
};

Case read_case(const h5::File& file, const std::string& group) {
  golden::expect_known(file, group, {"dev_*", "gamma", "inject", "key_rows", "layers", "loss", "loss_f32", "mode"},
                       {"logits", "logits_f32", "aux_logit", "grad_check", "dx_check", "dkey_layer*_check",
                        "site_layer*_after_check", "site_layer*_before_check", "buffer_after_check"});
  Case result;
  const std::string inject = file.string_attribute(group, "inject");
  EXPECT_TRUE(inject == "none" || inject == "add" || inject == "mul") << inject;
  if (inject != "none") result.layers = file.ints_attribute(group, "layers");
  result.kind = {inject == "add" ? Inject::add : Inject::mul, file.double_attribute(group, "gamma")};
  result.key_rows = golden::flag(file, group, "key_rows");
  result.train = file.string_attribute(group, "mode") == "train";
  return result;
}

// One forward and backward pass. In float32 the input takes no gradient, as in training: the fused kernels run.
Run run_case(const h5::File& file, const std::string& group, Model& model, const Case& c, at::ScalarType type) {
  Run run;
  const auto shape = file.ints_attribute(group, "x_shape");
  const double phase = golden::number(file, group, "key_phase", 0.0);
  const bool differentiable = type == at::kDouble;
  run.x = golden::closed_input(golden::number(file, group, "x_phase", 0.0), shape).to(type);
  run.x.requires_grad_(differentiable);
  const auto points = model.injection_points();
  for (const std::int64_t layer : c.layers)
    run.keys.push_back(
        golden::closed_key(layer, phase, points.at(static_cast<std::size_t>(layer)).size(), c.key_rows ? shape[0] : 1)
            .to(type)
            .requires_grad_(differentiable));
  Injection injection = c.layers.empty() ? Injection::none() : Injection::of_keys(c.layers, run.keys, c.kind);
  injection = injection.observed([&](std::int64_t point, const at::Tensor& before, const at::Tensor& after) {
    run.sites[point] = {before, after};
  });
  c.train ? model.train() : model.eval();
  model.zero_grad();
  run.output = model.forward(run.x, injection);
  at::Tensor loss = at::cross_entropy_loss(run.output.logits, golden::tensor(file, group + "/labels"));
  if (run.output.reject.defined())
    loss = loss + at::binary_cross_entropy_with_logits(run.output.reject, at::ones_like(run.output.reject));
  run.loss = loss.item<double>();
  loss.backward();
  return run;
}

std::vector<at::Tensor> gradients_of(const Model& model) {
  std::vector<at::Tensor> gradients;
  for (const at::Tensor& parameter : model.parameters())
    gradients.push_back(parameter.grad().defined() ? parameter.grad().to(at::kDouble) : at::Tensor());
  return gradients;
}

// Largest ||a - b|| / ||b|| over the parameters, as dev_f32_grad_rel has it.
double distance(const std::vector<at::Tensor>& a, const std::vector<at::Tensor>& b) {
  double largest = 0;
  for (std::size_t i = 0; i < b.size(); ++i)
    if (b[i].defined()) largest = std::max(largest, ((a[i] - b[i]).norm() / b[i].norm()).item<double>());
  return largest;
}

// Returns the gradients of the parameters, which are those of the file.
std::vector<at::Tensor> check_double(const h5::File& file, const std::string& group, const std::string& name,
                                     Model& model) {
  const std::string path = group + "/" + name;
  const Case c = read_case(file, path);
  const Run run = run_case(file, group, model, c, at::kDouble);
  const double values = std::max(1e-11, 100 * golden::number(file, path, "dev_reorder_logits", 0.0));
  const double gradients = std::max(1e-10, 100 * golden::number(file, path, "dev_reorder_grad_rel", 0.0));
  golden::expect_close(run.output.logits, golden::tensor(file, path + "/logits"), values, path + " logits");
  golden::expect_close(run.loss, file.double_attribute(path, "loss"), values, path + " loss");
  if (file.exists(path + "/aux_logit"))
    golden::expect_close(run.output.reject, golden::tensor(file, path + "/aux_logit"), values, path + " aux");
  golden::expect_parameter_checks(model, true, golden::tensor(file, path + "/grad_check"), gradients, path);
  if (file.exists(path + "/buffer_after_check"))
    golden::expect_buffer_checks(model, golden::tensor(file, path + "/buffer_after_check"), values, path + " after");
  golden::expect_check(run.x.grad(), golden::tensor(file, path + "/dx_check"), gradients, path + " dx");
  for (std::size_t i = 0; i < c.layers.size(); ++i) {
    const std::string layer = "layer" + std::to_string(c.layers[i]);
    golden::expect_check(run.keys[i].grad(), golden::tensor(file, path + "/dkey_" + layer + "_check"), gradients,
                         path + " dkey " + layer);
    const Site& site = run.sites.at(c.layers[i]);
    golden::expect_check(site.before, golden::tensor(file, path + "/site_" + layer + "_before_check"), values,
                         path + " before " + layer);
    golden::expect_check(site.after, golden::tensor(file, path + "/site_" + layer + "_after_check"), values,
                         path + " after " + layer);
  }
  return gradients_of(model);
}

// Returns how far the gradients are from those in float64, and the reference's own are.
std::pair<double, double> check_float(const h5::File& file, const std::string& network, const std::string& name,
                                      Model& model, const std::vector<at::Tensor>& wide) {
  const std::string group = "/" + network, path = group + "/" + name;
  const Case c = read_case(file, path);
  const Run run = run_case(file, group, model, c, at::kFloat);
  const double values = std::max(1e-5, 20 * golden::number(file, path, "dev_f32_logits", 0.0));
  golden::expect_close(run.output.logits, golden::tensor(file, path + "/logits_f32"), values, path + " logits f32");
  golden::expect_close(run.loss, file.double_attribute(path, "loss_f32"), values, path + " loss f32");
  const double gradients =
      std::max(golden::float_gradient_tolerance(network), 2 * golden::number(file, path, "dev_f32_grad_rel", 0.0));
  golden::expect_parameter_checks(model, true, golden::tensor(file, path + "/grad_check"), gradients, path + " f32");
  return {distance(gradients_of(model), wide), golden::number(file, path, "dev_f32_grad_rel", 0.0)};
}

// Which cases of a deep ReLU network meet a switched ReLU is a matter of the processor; that most do not is none.
// `lost`: of its cases, by us and by the reference.
void expect_few_switches(std::vector<std::pair<double, double>> lost, const std::string& network) {
  const auto median = [&](auto member) {
    std::vector<double> values;
    for (const auto& one : lost) values.push_back(one.*member);
    std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2), values.end());
    return values[values.size() / 2];
  };
  using Pair = std::pair<double, double>;
  golden::expect_close(median(&Pair::first), 0.0, 20 * median(&Pair::second),
                       network + " gradients f32, the median case");
}

void check_network(const h5::File& file, const std::string& name, golden::Tally& tally) {
  const std::string group = "/" + name;
  const auto cases = file.groups(group);
  golden::expect_known(file, group,
                       {"batch", "example", "init_rule", "init_seed", "key_phase", "layer_dims", "x_phase", "x_shape"},
                       {"buffer_init_check", "buffer_names", "buffer_ndim", "buffer_shapes", "init_check",
                        "key_layer*_check", "labels", "param_names", "param_ndim", "param_shapes", "x_check"},
                       {"none_*", "add_*", "mul_*", "mulall_rows_*"});
  const auto shape = file.ints_attribute(group, "x_shape");
  const auto model = golden::make_network(file, group, name, shape.back());
  const auto seed = static_cast<std::uint64_t>(file.int_attribute(group, "init_seed"));
  const std::string rule = file.string_attribute(group, "init_rule");
  const auto dims = file.ints_attribute(group, "layer_dims");
  const auto points = model->injection_points();
  ASSERT_EQ(points.size(), dims.size());
  for (std::size_t l = 0; l < dims.size(); ++l) {
    EXPECT_EQ(points[l].size(), dims[l]);
    const auto layer = static_cast<std::int64_t>(l);
    const std::string check = group + "/key_layer" + std::to_string(l) + "_check";
    if (file.exists(check))
      golden::expect_check(golden::closed_key(layer, golden::number(file, group, "key_phase", 0.0), dims[l], 1),
                           golden::tensor(file, check), 1e-12, check);
  }
  golden::expect_check(golden::closed_input(golden::number(file, group, "x_phase", 0.0), shape),
                       golden::tensor(file, group + "/x_check"), 1e-12, group + " x");
  golden::fill_closed(*model, rule, seed, at::kDouble);
  golden::expect_parameter_checks(*model, false, golden::tensor(file, group + "/init_check"), 1e-12, group + " init");
  if (file.exists(group + "/buffer_init_check"))
    golden::expect_buffer_checks(*model, golden::tensor(file, group + "/buffer_init_check"), 1e-12, group + " init");
  std::vector<std::pair<double, double>> lost;
  for (const std::string& entry : cases) {
    SCOPED_TRACE(group + "/" + entry);
    golden::fill_closed(*model, rule, seed, at::kDouble);
    const auto wide = check_double(file, group, entry, *model);
    golden::fill_closed(*model, rule, seed, at::kFloat);
    lost.push_back(check_float(file, name, entry, *model, wide));
    tally.run();
  }
  if (lost.size() > 2) expect_few_switches(lost, group);
}

void check_closed_forms(const h5::File& file) {
  golden::expect_known(file, "/selftest", {}, {"v", "x_i0_7"});
  const at::Tensor stored = golden::tensor(file, "/selftest/v");
  const std::pair<std::uint64_t, std::uint64_t> rows[] = {{0, 0}, {0, 3}, {7, 2}, {1234567, 501}};
  for (std::int64_t r = 0; r < stored.size(0); ++r)
    golden::expect_close(golden::hash_values(rows[r].first, rows[r].second, {stored.size(1)}), stored[r], 0.0, "v");
  const at::Tensor x = golden::tensor(file, "/selftest/x_i0_7");
  golden::expect_close(golden::closed_input(0.0, {x.size(0)}), x, 1e-15, "x");
}

TEST(Golden, ModelsMatchTheReference) {
  const h5::File file = golden::open("models.h5");
  golden::Tally tally("models.h5");
  golden::expect_known(file, "/", {}, {}, {"*"});  // every group is checked below, whatever its name
  for (const std::string& name : file.groups("/")) {
    if (name == "selftest") {
      check_closed_forms(file);
    } else {
      check_network(file, name, tally);
    }
  }
}

}  // namespace
}  // namespace spankey::models_test
