// Every network shows the outputs of its layers, and goes on with what it is given for them.
#include "spankey/models/layer_filter.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <set>

#include "spankey/models/registry.h"

namespace spankey::layer_filter_test {
namespace {

ModelOptions options_for(const std::string& name) {
  std::vector<std::int64_t> shape{1, 28, 28};
  if (name == "mlp") shape = {20};
  if (name == "resnet18" || name == "vit_tiny") shape = {3, 32, 32};
  return {.sample_shape = shape, .classes = 10, .reject_head = true};
}

at::Tensor batch_for(const std::string& name, std::int64_t n) {
  at::set_num_threads(1);
  std::vector<std::int64_t> shape = options_for(name).sample_shape;
  shape.insert(shape.begin(), n);
  return at::linspace(-1, 1, c10::multiply_integers(shape)).sin().view(shape);
}

// Layers with a bias that are no normalisations, counted from the parameters.
std::size_t layers_of(const Model& model) {
  std::size_t count = 0;
  const auto parameters = model.named_parameters();
  for (const auto& entry : parameters)
    if (entry.value().dim() >= 2 && entry.key().ends_with(".weight") &&
        parameters.contains(entry.key().substr(0, entry.key().size() - 6) + "bias"))
      ++count;
  return count;
}

TEST(LayerFilter, SeesEveryLayerOfEveryNetwork) {
  const at::NoGradGuard no_grad;
  for (const std::string& name : model_names()) {
    const auto model = make_model(name, options_for(name));
    initialise(*model, 3);
    model->eval();
    const auto x = batch_for(name, 2);
    const auto plain = model->forward(x, Injection::none());
    std::set<const void*> seen;
    Output watched;
    {
      const LayerFilter filter([&](const at::Tensor& weight, const at::Tensor& bias, const at::Tensor& output) {
        seen.insert(weight.const_data_ptr());
        EXPECT_EQ(output.size(output.dim() == 4 ? 1 : -1), bias.size(0)) << name;
        EXPECT_EQ(weight.size(0), bias.size(0)) << name;
        return output;
      });
      watched = model->forward(x, Injection::none());
    }
    EXPECT_EQ(seen.size(), layers_of(*model)) << name;
    EXPECT_TRUE(at::allclose(watched.logits, plain.logits, 1e-4, 1e-5)) << name;
    EXPECT_TRUE(at::equal(model->forward(x, Injection::none()).logits, plain.logits)) << name;
    // What comes back is what goes on: without any output of a layer nothing is left of the input.
    const LayerFilter closed(
        [](const at::Tensor&, const at::Tensor&, const at::Tensor& output) { return at::zeros_like(output); });
    EXPECT_EQ(model->forward(x, Injection::none()).logits.abs().max().item<float>(), 0.0F) << name;
  }
}

}  // namespace
}  // namespace spankey::layer_filter_test
