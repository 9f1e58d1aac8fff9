#include "golden/network.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "spankey/models/registry.h"

namespace spankey::golden {

std::string model_for(const std::string& reference_name) {
  for (const auto& [prefix, model] : {std::pair{"mlp", "mlp"},
                                      {"cnn", "small_cnn"},
                                      {"resnet03", "small_resnet"},
                                      {"resnet18", "resnet18"},
                                      {"vit", "vit_tiny"}})
    if (reference_name.starts_with(prefix)) return model;
  ADD_FAILURE() << "unknown network " << reference_name;
  return "mlp";
}

std::vector<std::int64_t> sample_shape(const std::string& reference_name, std::int64_t width) {
  const std::string model = model_for(reference_name);
  if (model == "mlp") return {width};
  if (model == "resnet18" || model == "vit_tiny") return {3, 32, 32};
  return {1, 28, 28};
}

std::shared_ptr<Model> make_network(const h5::File& file, const std::string& group, const std::string& reference_name,
                                    std::int64_t width) {
  const auto names = file.read_strings(group + "/param_names");
  ModelOptions options;
  options.reject_head = reference_name.find("_aux") != std::string::npos;
  // All rows of the last layer count as classes here: a reject class is one more of them.
  for (std::size_t p = 0; p < names.size(); ++p)
    if (names[p] == "fc.weight" || names[p] == "net.4.weight" || names[p] == "head.weight")
      options.classes = stored_shape(file, group, static_cast<std::int64_t>(p))[0];
  options.sample_shape = sample_shape(reference_name, width);
  auto model = make_model(model_for(reference_name), options);
  const auto parameters = model->named_parameters();
  EXPECT_EQ(parameters.keys(), names);
  for (std::size_t p = 0; p < std::min(names.size(), parameters.size()); ++p)
    EXPECT_EQ(parameters[names[p]].sizes().vec(), stored_shape(file, group, static_cast<std::int64_t>(p))) << names[p];
  const std::vector<std::string> buffer_names =
      file.exists(group + "/buffer_names") ? file.read_strings(group + "/buffer_names") : std::vector<std::string>{};
  EXPECT_EQ(model->named_buffers().keys(), buffer_names);
  return model;
}

double float_gradient_tolerance(const std::string& reference_name) {
  // The reference's own float32 gradients of residual networks are up to 0.0093 (relative norm) from its float64 ones,
  // where rounding has switched a ReLU, and 4e-6 elsewhere.
  constexpr double switched = 0.0093, several = 4;
  return reference_name.starts_with("resnet") ? several * switched : 1e-4;
}

void fill_closed(Model& model, const std::string& rule, std::uint64_t seed, at::ScalarType type) {
  const at::NoGradGuard no_grad;
  model.to(type);
  std::int64_t index = 0;
  for (const auto& parameter : model.named_parameters())
    parameter.value().copy_(closed_parameter(rule, seed, index++, parameter.key(), parameter.value().sizes()));
  std::uint64_t buffer_index = 1000;
  for (const auto& buffer : model.named_buffers()) {
    const at::Tensor base = hash_values(seed, buffer_index++, buffer.value().sizes());
    buffer.value().copy_(buffer.key().ends_with("running_mean") ? 0.1 * base : 1 + 0.25 * base);
  }
}

void expect_parameter_checks(Model& model, bool gradients, const at::Tensor& table, double tolerance,
                             const std::string& what) {
  std::int64_t row = 0;
  for (const auto& parameter : model.named_parameters()) {
    ASSERT_LT(row, table.size(0)) << what;
    expect_check(gradients ? parameter.value().grad() : parameter.value(), table[row++], tolerance,
                 what + " " + parameter.key());
  }
  EXPECT_EQ(row, table.size(0)) << what;
}

void expect_buffer_checks(Model& model, const at::Tensor& table, double tolerance, const std::string& what) {
  const auto buffers = model.named_buffers();
  ASSERT_EQ(static_cast<std::int64_t>(buffers.size()), table.size(0)) << what;
  std::int64_t row = 0;
  for (const auto& buffer : buffers) expect_check(buffer.value(), table[row++], tolerance, what + " " + buffer.key());
}

}  // namespace spankey::golden
