#include "spankey/models/precision.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <map>

#include "spankey/models/batch_norm.h"
#include "spankey/models/model.h"
#include "spankey/models/registry.h"

namespace spankey::precision_test {
namespace {

struct Pass {
  Output output;
  std::map<std::int64_t, std::pair<at::ScalarType, at::ScalarType>> types;  // before and after each injection point
  std::vector<at::Tensor> gradients;
};

Pass run(const std::string& name, Precision precision) {
  at::set_num_threads(1);
  at::manual_seed(3);
  const bool colour = name == "resnet18" || name == "vit_tiny";
  std::vector<std::int64_t> shape =
      colour ? std::vector<std::int64_t>{3, 32, 32} : std::vector<std::int64_t>{1, 28, 28};
  if (name == "mlp") shape = {20};
  const auto model = make_model(name, {.sample_shape = shape, .reject_head = true, .precision = precision});
  initialise(*model, 1);
  shape.insert(shape.begin(), 8);
  const std::int64_t last = static_cast<std::int64_t>(model->injection_points().size()) - 1;
  const at::Tensor key = 0.5 * at::randn({8, model->injection_points().back().size()});
  Pass pass;
  const Injection injection = Injection::of_keys({last}, {key}, {})
                                  .observed([&](std::int64_t i, const at::Tensor& before, const at::Tensor& after) {
                                    pass.types[i] = {before.scalar_type(), after.scalar_type()};
                                  });
  pass.output = model->forward(at::randn(shape), injection);
  (at::cross_entropy_loss(pass.output.logits, at::arange(8, at::kLong)) + pass.output.reject.sum()).backward();
  for (const at::Tensor& p : model->parameters()) pass.gradients.push_back(p.grad());
  for (const auto& buffer : model->buffers()) EXPECT_EQ(buffer.scalar_type(), at::kFloat);
  return pass;
}

double relative(const at::Tensor& a, const at::Tensor& b) {
  return ((a - b).norm() / b.norm()).item<double>();
}

// bfloat16 has 8 bits: a hundredth is what one rounding in a few layers costs, and not being equal shows that there was
// one.
TEST(Precision, ActivationsAreBf16AndWhatCountsIsFloat32) {
  if (!cpu_has_bf16()) GTEST_SKIP() << "this processor has no bfloat16 instructions";
  for (const std::string& name : model_names()) {
    SCOPED_TRACE(name);
    const Pass wide = run(name, Precision::float32), narrow = run(name, Precision::bf16);
    for (const auto& [point, types] : wide.types) EXPECT_EQ(types.first, at::kFloat);
    for (const auto& [point, types] : narrow.types) {
      EXPECT_EQ(types.first, types.second) << point;
      // The input is as it comes, and the transformer's sum of residuals stays float32, as everywhere.
      const bool stays = name == "vit_tiny" || point == 0;
      EXPECT_EQ(types.first, stays ? at::kFloat : at::kBFloat16) << point;
    }
    for (const at::Tensor& t : {narrow.output.logits, narrow.output.features, narrow.output.reject})
      EXPECT_EQ(t.scalar_type(), at::kFloat);
    EXPECT_LT(relative(narrow.output.logits, wide.output.logits), 0.05);
    EXPECT_GT(relative(narrow.output.logits, wide.output.logits), 1e-5);
    for (const at::Tensor& g : narrow.gradients) EXPECT_EQ(g.scalar_type(), at::kFloat);
    EXPECT_LT(relative(narrow.gradients.back(), wide.gradients.back()), 0.05);
  }
}

TEST(Precision, AScopeEnds) {
  EXPECT_FALSE(in_bf16_scope());
  const at::Tensor a = at::ones({3, 3});
  {
    const Bf16Scope scope(at::kCPU);
    EXPECT_TRUE(in_bf16_scope());
    EXPECT_EQ(a.matmul(a).scalar_type(), at::kBFloat16);
  }
  EXPECT_FALSE(in_bf16_scope());
  EXPECT_EQ(a.matmul(a).scalar_type(), at::kFloat);
}

TEST(Precision, AProcessorMayLackIt) {
  hide_bf16(true);
  EXPECT_FALSE(cpu_has_bf16());
  hide_bf16(false);
}

}  // namespace
}  // namespace spankey::precision_test
