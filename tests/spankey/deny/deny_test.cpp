#include "spankey/deny/deny.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <vector>

#include "base/stream.h"
#include "support/expect_error.h"

namespace spankey::deny_test {
namespace {

using testing::AllOf, testing::HasSubstr;

constexpr std::int64_t n = 5, classes = 6;

// Thousands of operations on a few numbers: a second thread would only be waited for.
class Deny : public testing::Test {
 protected:
  Deny() : threads_(at::get_num_threads()) { at::set_num_threads(1); }
  ~Deny() override { at::set_num_threads(threads_); }

 private:
  int threads_;
};

struct Logits {
  Output correct, wrong, none;
  explicit Logits(std::uint64_t seed) {
    at::manual_seed(seed);
    for (Output* o : {&correct, &wrong, &none}) {
      o->logits = 2 * at::randn({n, classes}, at::kDouble);
      o->reject = at::randn({n}, at::kDouble);
    }
  }
};

at::Tensor labels() {
  return at::arange(n, at::kLong).remainder(classes - 1);
}

// Draws the labels of samples 0 .. n-1 in a step of epoch 2 of a run with the seed 42.
at::Tensor drawn_labels(std::int64_t samples, std::int64_t real, std::int64_t step = 3) {
  return draw_deny_labels(at::arange(samples, at::kLong), at::tensor({std::int64_t{2}, step}, at::kLong), real, 42);
}

at::Tensor evaluate(const DenyLoss& loss, const Logits& l, bool with_none, const DenyConfig& config) {
  const at::Tensor y = labels();
  return loss.per_sample({l.correct, &l.wrong, with_none ? &l.none : nullptr, y, config, drawn_labels(n, classes - 1)});
}

TEST_F(Deny, RegistryKnowsEveryModeInAnyCase) {
  EXPECT_EQ(deny_loss_names(),
            (std::vector<std::string>{"none", "A", "A_soft", "B", "B_aux", "BS", "BU", "U", "C", "cplus", "AC"}));
  EXPECT_EQ(find_deny_loss("b_AUX").name, "B_aux");
  EXPECT_EQ(find_deny_loss("B").reject, RejectKind::reject_class);
  EXPECT_EQ(find_deny_loss("B_aux").reject, RejectKind::reject_head);
  EXPECT_EQ(find_deny_loss("bs").reject, RejectKind::reject_class);
  EXPECT_EQ(find_deny_loss("bu").reject, RejectKind::reject_class);
  EXPECT_EQ(find_deny_loss("u").reject, RejectKind::none);
  EXPECT_EQ(find_deny_loss("none").per_sample, nullptr);
  EXPECT_ERROR(find_deny_loss("D"), ExitCode::bad_input,
               AllOf(HasSubstr("deny.mode"), HasSubstr("\"D\""), HasSubstr("cplus")));
  EXPECT_ERROR(find_deny_loss("cpluss"), ExitCode::bad_input, HasSubstr("did you mean 'cplus'?"));
}

TEST_F(Deny, GradientsAgreeWithFiniteDifferences) {
  const DenyConfig config;
  constexpr double step = 1e-6;
  for (const std::string& name : deny_loss_names()) {
    const DenyLoss& loss = find_deny_loss(name);
    if (!loss.per_sample) continue;
    for (const bool with_none : {false, true}) {
      Logits l(11);
      std::vector<at::Tensor*> leaves;
      for (Output* o : {&l.correct, &l.wrong, &l.none}) {
        leaves.push_back(&o->logits);
        leaves.push_back(&o->reject);
      }
      for (at::Tensor* t : leaves) t->requires_grad_();
      const at::Tensor each = evaluate(loss, l, with_none, config);
      ASSERT_EQ(each.sizes(), (std::vector<std::int64_t>{n})) << name;
      each.sum().backward();
      const at::NoGradGuard no_grad;
      for (at::Tensor* t : leaves) {
        const at::Tensor gradient = t->grad().defined() ? t->grad() : at::zeros_like(*t);
        at::Tensor flat = t->view({-1});
        for (std::int64_t i = 0; i < flat.numel(); ++i) {
          flat[i] += step;
          const double above = evaluate(loss, l, with_none, config).sum().item<double>();
          flat[i] -= 2 * step;
          const double below = evaluate(loss, l, with_none, config).sum().item<double>();
          flat[i] += step;
          EXPECT_NEAR(gradient.view({-1})[i].item<double>(), (above - below) / (2 * step), 1e-7) << name;
        }
      }
    }
  }
}

// With gamma = 0 all passes have the same logits (arXiv 2604.12254; closed forms worked out by hand).
TEST_F(Deny, WithoutInjectionLossesTakeTheirClosedForms) {
  DenyConfig config;
  Logits l(12);
  l.wrong.logits = l.none.logits = l.correct.logits.requires_grad_();
  l.wrong.reject = l.none.reject = l.correct.reject = at::zeros({n}, at::kDouble);
  for (const bool with_none : {false, true}) {
    const at::Tensor c = evaluate(find_deny_loss("C"), l, with_none, config);
    EXPECT_TRUE(at::allclose(c, at::full_like(c, config.margin)));
    c.sum().backward();
    EXPECT_LT(l.correct.logits.grad().abs().max().item<double>(), 1e-15);
    const at::Tensor head = evaluate(find_deny_loss("B_aux"), l, with_none, config);
    EXPECT_TRUE(at::allclose(head, at::full_like(head, std::log(2.0))));
  }
}

// A label is the integer of the stream of (seed, epoch, step, sample), whatever rows are drawn together: that is what
// makes it the same for every number of ranks and shards.
TEST_F(Deny, DrawnLabelsAreAFunctionOfSeedEpochStepAndSample) {
  const std::vector<std::int64_t> samples = {7, 0, 123456789, 3, (std::int64_t{1} << 40) + 5};
  const at::Tensor all = at::tensor(samples, at::kLong), position = at::tensor({2, 3}, at::kLong);
  for (const std::int64_t real : {2, 5, 10, 1000}) {
    const at::Tensor drawn = draw_deny_labels(all, position, real, 42);
    for (std::size_t i = 0; i < samples.size(); ++i) {
      const auto row = static_cast<std::int64_t>(i);
      const Stream stream({.seed = 42,
                           .purpose = Purpose::deny_label,
                           .epoch = 2,
                           .step = 3,
                           .sample = static_cast<std::uint64_t>(samples[i])});
      EXPECT_EQ(drawn[row].item<std::int64_t>(),
                static_cast<std::int64_t>(stream.below(0, static_cast<std::uint64_t>(real))))
          << real << " " << i;
      EXPECT_TRUE(draw_deny_labels(all.narrow(0, row, 1), position, real, 42).equal(drawn.narrow(0, row, 1)));
    }
  }
  const at::Tensor many = at::arange(200, at::kLong);
  const at::Tensor one = draw_deny_labels(many, position, 10, 42);
  EXPECT_FALSE(one.equal(draw_deny_labels(many, position, 10, 43)));
  EXPECT_FALSE(one.equal(draw_deny_labels(many, at::tensor({2, 4}, at::kLong), 10, 42)));
  EXPECT_FALSE(one.equal(draw_deny_labels(many, at::tensor({3, 3}, at::kLong), 10, 42)));
  EXPECT_FALSE(one.equal(draw_deny_labels(many + 1, position, 10, 42)));
}

// BS = B + cross entropy of the class logits with a drawn label, worked out in scalars here. The label is found from
// the loss: over many samples each class alike, whatever the true one.
TEST_F(Deny, ModeBsTeachesEachClassAlike) {
  constexpr std::int64_t samples = 3000, real = classes - 1;
  at::manual_seed(14);
  const Output output{2 * at::randn({samples, classes}, at::kDouble), {}, {}};
  const at::Tensor y = at::arange(samples, at::kLong).remainder(real);
  const at::Tensor each = deny_bs({output, &output, nullptr, y, DenyConfig{}, drawn_labels(samples, real)});
  std::array<std::int64_t, real> shifts{};
  for (std::int64_t i = 0; i < samples; ++i) {
    double all = 0, semantic = 0;
    std::array<double, classes> z{};
    for (std::int64_t c = 0; c < classes; ++c) {
      z[static_cast<std::size_t>(c)] = output.logits[i][c].item<double>();
      all += std::exp(z[static_cast<std::size_t>(c)]);
      if (c < real) semantic += std::exp(z[static_cast<std::size_t>(c)]);
    }
    int matches = 0;
    for (std::int64_t shift = 0; shift < real; ++shift) {
      const auto taught = static_cast<std::size_t>((y[i].item<std::int64_t>() + shift) % real);
      const double expected = std::log(all) - z[real] + std::log(semantic) - z[taught];
      if (std::abs(expected - each[i].item<double>()) > 1e-10) continue;
      ++matches;
      ++shifts[static_cast<std::size_t>(shift)];
    }
    ASSERT_EQ(matches, 1) << i;
  }
  const double share = static_cast<double>(samples) / real;
  for (std::size_t shift = 0; shift < shifts.size(); ++shift)
    EXPECT_NEAR(static_cast<double>(shifts[shift]), share, 5 * std::sqrt(share)) << shift;
}

// At its optimum BS has p_reject = 1, and the class logits are equal: neither the largest nor the smallest tells the
// class.
TEST_F(Deny, ModeBsLevelsTheClasses) {
  const DenyConfig config;
  const at::Tensor y = at::full({400}, 2, at::kLong);
  at::Tensor z = at::tensor({0.0, 0.0, 5.0, 0.0, 0.0}, at::kDouble).unsqueeze(0).requires_grad_();
  for (int i = 0; i < 600; ++i) {
    const Output output{z.expand({400, 5}), {}, {}};
    deny_bs({output, &output, nullptr, y, config, drawn_labels(400, 4, i)}).mean().backward();
    const at::NoGradGuard no_grad;
    z.sub_(0.5 * z.grad());
    z.mutable_grad().zero_();
  }
  EXPECT_EQ(z.argmax(1).item<std::int64_t>(), 4);
  const at::Tensor p = z.narrow(1, 0, 4).softmax(1)[0];
  for (std::int64_t c = 0; c < 4; ++c) EXPECT_NEAR(p[c].item<double>(), 0.25, 0.05) << c;
}

// KL(uniform || p) in scalars; BU has B beside it. Equal logits cost nothing, whatever the reject logit.
TEST_F(Deny, ModesUAndBuMeasureTheDistanceFromUniform) {
  constexpr std::int64_t real = classes - 1;
  Logits l(16);
  const DenyConfig config;
  const at::Tensor y = labels();
  const auto divergence = [](const at::Tensor& z) {
    double all = 0, result = 0;
    for (std::int64_t c = 0; c < z.numel(); ++c) all += std::exp(z[c].item<double>());
    const double share = 1.0 / static_cast<double>(z.numel());
    for (std::int64_t c = 0; c < z.numel(); ++c)
      result += share * std::log(share / (std::exp(z[c].item<double>()) / all));
    return result;
  };
  const at::Tensor u = deny_u({l.correct, &l.wrong, nullptr, y, config});
  const at::Tensor bu = deny_bu({l.correct, &l.wrong, nullptr, y, config});
  const at::Tensor b = deny_b({l.correct, &l.wrong, nullptr, y, config});
  const at::Tensor without_wrong = deny_u({l.correct, nullptr, &l.none, y, config});
  for (std::int64_t i = 0; i < n; ++i) {
    EXPECT_NEAR(u[i].item<double>(), divergence(l.wrong.logits[i]), 1e-12);
    EXPECT_NEAR((bu - b)[i].item<double>(), divergence(l.wrong.logits[i].narrow(0, 0, real)), 1e-12);
    EXPECT_NEAR(without_wrong[i].item<double>(), divergence(l.none.logits[i]), 1e-12);
  }
  l.wrong.logits.narrow(1, 0, real).fill_(-3.0);
  const at::Tensor level =
      deny_bu({l.correct, &l.wrong, nullptr, y, config}) - deny_b({l.correct, &l.wrong, nullptr, y, config});
  EXPECT_LT(level.abs().max().item<double>(), 1e-14);
  EXPECT_LT(divergence_from_uniform(at::full({2, 7}, 5.0, at::kDouble)).abs().max().item<double>(), 1e-14);
}

// The mean of BS over all labels that it may draw is BU + log C, so BU has its expected gradient.
TEST_F(Deny, ModeBuIsTheExpectationOfBs) {
  constexpr std::int64_t real = classes - 1;
  const Logits l(17);
  const at::Tensor y = labels();
  at::Tensor mean = at::zeros({n}, at::kDouble);
  for (std::int64_t label = 0; label < real; ++label)
    mean += deny_bs({l.correct, &l.wrong, &l.none, y, DenyConfig{}, at::full({n}, label, at::kLong)}) / real;
  const at::Tensor bu = deny_bu({l.correct, &l.wrong, &l.none, y, DenyConfig{}});
  EXPECT_LT((mean - bu - std::log(static_cast<double>(real))).abs().max().item<double>(), 1e-12);
}

TEST_F(Deny, StopGradientLeavesTheCorrectPassAlone) {
  DenyConfig config;
  for (const bool stop : {false, true}) {
    config.stop_gradient = stop;
    for (const char* name : {"C", "cplus", "AC"}) {
      Logits l(15), same(15);
      l.correct.logits.requires_grad_();
      l.wrong.logits.requires_grad_();
      const at::Tensor each = evaluate(find_deny_loss(name), l, false, config);
      EXPECT_TRUE(each.equal(evaluate(find_deny_loss(name), same, false, DenyConfig{}))) << name;
      each.sum().backward();
      EXPECT_EQ(l.correct.logits.grad().defined() && l.correct.logits.grad().ne(0).any().item<bool>(), !stop) << name;
      EXPECT_TRUE(l.wrong.logits.grad().ne(0).any().item<bool>()) << name;
    }
  }
}

// Mode B at gamma = 0: CE(z, y) + lambda CE(z, reject) is least at p_reject = lambda / (1 + lambda).
TEST_F(Deny, ModeBWithoutInjectionSettlesAtItsShare) {
  const double lambda = 0.1;
  const DenyConfig config;
  const at::Tensor y = at::zeros({1}, at::kLong);
  at::Tensor z = at::zeros({1, 4}, at::kDouble).requires_grad_();
  for (int i = 0; i < 4000; ++i) {
    const Output output{z, {}, {}};
    const at::Tensor loss =
        at::cross_entropy_loss(z, y) + lambda * deny_b({output, &output, nullptr, y, config}).mean();
    loss.backward();
    const at::NoGradGuard no_grad;
    z.sub_(2.0 * z.grad());
    z.mutable_grad().zero_();
  }
  EXPECT_NEAR(z.softmax(1)[0][3].item<double>(), lambda / (1 + lambda), 1e-3);
  EXPECT_EQ(z.argmax(1).item<std::int64_t>(), 0);
}

TEST_F(Deny, EntropyIsClamped) {
  const at::Tensor z = at::tensor({80.0, 0.0, 0.0}, at::kDouble).unsqueeze(0);
  const at::Tensor h = prediction_entropy(z);
  const double p = std::exp(-80.0);
  EXPECT_NEAR(h.item<double>(), -2 * p * std::log(1e-12), 1e-40);
  EXPECT_NEAR(prediction_entropy(at::zeros({1, 8}, at::kDouble)).item<double>(), std::log(8.0), 1e-14);
}

TEST_F(Deny, TiesSendTheGradientToTheFirstOtherClass) {
  Logits l(13);
  l.wrong.logits = at::zeros({n, classes}, at::kDouble).requires_grad_();
  l.correct.logits = at::full({n, classes}, 50.0, at::kDouble);  // C is inactive
  evaluate(find_deny_loss("cplus"), l, false, {}).sum().backward();
  for (std::int64_t i = 0; i < n; ++i) {
    const auto y = labels()[i].item<std::int64_t>();
    EXPECT_EQ(l.wrong.logits.grad()[i][y].item<double>(), 1);
    EXPECT_EQ(l.wrong.logits.grad()[i][y == 0 ? 1 : 0].item<double>(), -1);
  }
}

}  // namespace
}  // namespace spankey::deny_test
