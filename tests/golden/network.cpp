#include "golden/network.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

namespace spankey::golden {

std::string model_for(const std::string& reference_name) {
  if (reference_name.starts_with("mlp")) return "mlp";
  if (reference_name.starts_with("cnn")) return "small_cnn";
  EXPECT_TRUE(reference_name.starts_with("resnet") || reference_name.starts_with("vit"))
      << "unknown network " << reference_name;
  return "";
}

std::shared_ptr<Model> make_network(const h5::File& file, const std::string& group, const std::string& reference_name,
                                    std::int64_t width) {
  const auto names = file.read_strings(group + "/param_names");
  ModelOptions options;
  options.reject_head = reference_name.find("_aux") != std::string::npos;
  // All rows of the last layer count as classes here: a reject class is one more of them.
  for (std::size_t p = 0; p < names.size(); ++p)
    if (names[p] == "fc.weight" || names[p] == "net.4.weight")
      options.classes = stored_shape(file, group, static_cast<std::int64_t>(p))[0];
  const std::string name = model_for(reference_name);
  options.sample_shape = name == "mlp" ? std::vector<std::int64_t>{width} : std::vector<std::int64_t>{1, 28, 28};
  auto model = make_model(name, options);
  const auto parameters = model->named_parameters();
  EXPECT_EQ(parameters.keys(), names);
  for (std::size_t p = 0; p < std::min(names.size(), parameters.size()); ++p)
    EXPECT_EQ(parameters[names[p]].sizes().vec(), stored_shape(file, group, static_cast<std::int64_t>(p))) << names[p];
  return model;
}

void fill_closed(Model& model, const std::string& rule, std::uint64_t seed, at::ScalarType type) {
  const at::NoGradGuard no_grad;
  model.to(type);
  std::int64_t index = 0;
  for (const auto& parameter : model.named_parameters())
    parameter.value().copy_(closed_parameter(rule, seed, index++, parameter.key(), parameter.value().sizes()));
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

}  // namespace spankey::golden
