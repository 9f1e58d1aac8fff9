// Students: their loss by hand, and what they learn from a service.
#include "attack/student.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>

#include "toy_run.h"

namespace spankey::student_test {
namespace {

using test::outcome_of;

TEST(Student, LossIsTheDivergenceFromTheTeacher) {
  const auto logits = at::tensor({1.0, 0.0, -1.0, 0.5, 2.0, 0.0}, at::kDouble).view({2, 3});
  const auto taught = at::tensor({0.2, 0.5, 0.3, 1.0, 0.0, 0.0}, at::kDouble).view({2, 3});
  const auto z = logits.accessor<double, 2>(), p = taught.accessor<double, 2>();
  double expected = 0.0;
  for (int i = 0; i < 2; ++i) {
    double all = 0.0;
    for (int c = 0; c < 3; ++c) all += std::exp(z[i][c]);
    for (int c = 0; c < 3; ++c)
      if (p[i][c] > 0) expected += p[i][c] * (std::log(p[i][c]) - (z[i][c] - std::log(all))) / 2;
  }
  EXPECT_NEAR(student_loss(logits, taught).item<double>(), expected, 1e-12);
  const auto classes = at::tensor({1, 0}, at::kLong);
  const auto certain = at::one_hot(classes, 3).to(at::kDouble);
  EXPECT_NEAR(student_loss(logits, classes).item<double>(), student_loss(logits, certain).item<double>(), 1e-12);
}

// A student that is the teacher has nothing to learn, and is told apart from one that is not.
TEST(Student, ATeacherAgreesWithItself) {
  const auto run = test::untrained_run(test::small_mlp);
  AttackContext context(run, find_attack("D2"), 0);
  const auto x = context.unlabelled(300).x;
  const auto other = context.fresh_network();
  other->eval();
  const auto classes = context.classes();
  const auto scores = [&](const at::Tensor& batch) {
    return class_probabilities(context.service_scores(batch), classes);
  };
  const at::NoGradGuard no_grad;
  const auto taught = answers_in_batches(x, scores);
  ASSERT_EQ(taught.size(0), 300);
  EXPECT_EQ(context.cost().queries, 300);
  EXPECT_NEAR(student_loss(taught.log(), taught).item<double>(), 0.0, 1e-6);
  EXPECT_GT(student_loss(other->forward(x, Injection::none()).logits, taught).item<double>(), 1e-3);
  const auto service = [&](const at::Tensor& batch) { return context.service(batch); };
  EXPECT_EQ(context.fidelity(service), 1.0);
  EXPECT_EQ(context.agreement(service, service), 1.0);
  EXPECT_LT(context.fidelity(
                [&](const at::Tensor& batch) { return other->forward(batch, Injection::none()).logits.argmax(1); }),
            1.0);
}

TEST(Student, LearnsWhatAServiceSays) {
  const auto run = test::locked_run(test::small_mlp, 150);
  const auto& dataset = *run.experiment.dataset;
  const double majority = dataset.majority_rate(dataset.test());
  for (const char* variant : {"labels", "scores"}) {
    const Budget none{.images = 600, .steps = 0, .queries = 600, .variant = variant};
    Budget some = none;
    some.steps = 200;
    const auto taught = outcome_of(run, "D2", some), untaught = outcome_of(run, "D2", none);
    EXPECT_TRUE(taught.at("failure").is_null());
    EXPECT_LT(taught.at("own_loss").get<double>(), untaught.at("own_loss").get<double>()) << variant;
    EXPECT_GT(taught.at("detail").at("fidelity").get<double>(), untaught.at("detail").at("fidelity").get<double>());
    EXPECT_GT(taught.at("detail").at("accuracy").get<double>(), majority + 0.1) << variant;
    EXPECT_EQ(taught.at("cost").at("queries"), 600);
    EXPECT_EQ(taught.at("cost").at("labels"), 0);
  }
}

}  // namespace
}  // namespace spankey::student_test
