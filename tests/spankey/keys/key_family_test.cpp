#include "spankey/keys/key_family.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <map>
#include <numeric>
#include <set>

#include "spankey/keys/key_maker.h"
#include "support/expect_error.h"

namespace spankey::key_family_test {
namespace {

using testing::AllOf, testing::HasSubstr;

const std::vector<std::int64_t> dims = {300, 1000};  // of injection points 0 and 2

KeyConfig config(Layout layout = Layout::shared_prefix, bool per_layer_key = false) {
  KeyConfig c;
  c.m = 6;
  c.layers = {0, 2};
  c.inject = Inject::add;  // with gamma 1 a key comes out as it went in
  c.gamma = 1.0;
  c.layout = layout;
  c.per_layer_key = per_layer_key;
  return c;
}

KeyMaker maker(const KeyConfig& c, const KeyMakerOptions& options = {}) {
  return KeyMaker(c, Compat::honest, make_basis(c, dims, 7), 42, options);
}

// The key of each slot, whole, float64. Widths: 1000 for a shared prefix, 1300 for blocks, 300 and 1000 otherwise.
std::vector<at::Tensor> slots_of(const KeyConfig& c, const Injection& injection) {
  const at::Tensor narrow = injection.apply(0, at::zeros({1, dims[0]})).to(at::kDouble)[0];
  const at::Tensor wide = injection.apply(2, at::zeros({1, dims[1]})).to(at::kDouble)[0];
  if (c.per_layer_key || c.layout == Layout::per_layer) return {narrow, wide};
  return c.layout == Layout::shared_blocks ? std::vector{at::cat({narrow, wide})} : std::vector{wide};
}

double cosine(const at::Tensor& a, const at::Tensor& b) {
  return (a.dot(b) / (a.norm() * b.norm())).item<double>();
}

at::Tensor slot_basis(const KeyConfig& c, std::size_t slot) {
  const Basis basis = make_basis(c, dims, 7);
  if (c.per_layer_key || c.layout == Layout::per_layer) return basis.layers[slot].to(at::kDouble);
  return (c.layout == Layout::shared_blocks ? at::cat(basis.layers, 1) : basis.layers[1]).to(at::kDouble);
}

// Share of the key's energy in the span of its basis, by least squares.
double span_share(const KeyConfig& c, std::size_t slot, const at::Tensor& key) {
  const at::Tensor basis = slot_basis(c, slot);
  const at::Tensor alpha = std::get<0>(at::linalg_lstsq(basis.t(), key.unsqueeze(1)));
  return (basis.t().matmul(alpha).square().sum() / key.square().sum()).item<double>();
}

at::Tensor alpha_of(const KeyConfig& c, std::size_t slot, const at::Tensor& key) {
  return std::get<0>(at::linalg_lstsq(slot_basis(c, slot).t(), key.unsqueeze(1))).squeeze(1);
}

// Calls check(config, slot, valid key, wrong key, key index) for the keys of every layout.
using Check = std::function<void(const KeyConfig&, std::size_t, const at::Tensor&, const at::Tensor&, std::int64_t)>;
void for_keys(const std::string& family, std::int64_t keys, const Check& check) {
  for (const KeyConfig& c : {config(), config(Layout::shared_blocks), config(Layout::per_layer),
                             config(Layout::shared_prefix, true), config(Layout::shared_blocks, true)}) {
    const KeyMaker made = maker(c);
    for (std::int64_t key = 0; key < keys; ++key) {
      const auto valid = slots_of(c, made.evaluation_correct(key, 1));
      const auto wrong = slots_of(c, made.evaluation_wrong(key, 1, find_key_family(family)));
      for (std::size_t slot = 0; slot < wrong.size(); ++slot) check(c, slot, valid[slot], wrong[slot], key);
    }
  }
}

TEST(KeyFamily, AllButScaledHaveTheTargetDeviation) {
  for (const std::string& name : key_family_names()) {
    if (name == "scaled") continue;
    SCOPED_TRACE(name);
    for_keys(name, 3, [&](const KeyConfig&, std::size_t, const at::Tensor&, const at::Tensor& wrong, std::int64_t) {
      const double measure =
          name == "constant" ? wrong.square().mean().sqrt().item<double>() : wrong.std().item<double>();
      EXPECT_NEAR(measure, 0.5, 1e-6);
    });
  }
}

TEST(KeyFamily, GaussianFillsTheSpaceAndOrthComplementLeavesOutTheSpan) {
  double share = 0, count = 0;
  for_keys("gaussian", 8, [&](const KeyConfig& c, std::size_t s, const at::Tensor&, const at::Tensor& k, std::int64_t) {
    share += span_share(c, s, k) * static_cast<double>(k.numel());
    count += 1;
  });
  EXPECT_NEAR(share / count, 6, 4.5 * std::sqrt(2.0 * 6 / count));  // chi-squared with m degrees of freedom
  for_keys("orth_complement", 3,
           [](const KeyConfig& c, std::size_t s, const at::Tensor&, const at::Tensor& k, std::int64_t) {
             EXPECT_LT(span_share(c, s, k), 1e-12);
           });
}

TEST(KeyFamily, InSpanFamiliesStayInTheSpan) {
  for (const std::string name : {"negated", "one_hot", "alpha_normal", "alpha_u11", "scaled"})
    for_keys(name, 3, [&](const KeyConfig& c, std::size_t s, const at::Tensor&, const at::Tensor& k, std::int64_t) {
      EXPECT_NEAR(span_share(c, s, k), 1, 1e-9) << name;
    });
  // Negative control: the others do not.
  for (const std::string name :
       {"gaussian", "other_basis", "permuted", "interpolated", "constant", "low_frequency", "sparse", "near_miss"})
    for_keys(name, 2, [&](const KeyConfig& c, std::size_t s, const at::Tensor&, const at::Tensor& k, std::int64_t) {
      EXPECT_LT(span_share(c, s, k), 0.9) << name;
    });
}

TEST(KeyFamily, NegatedIsMinusTheValidKeyAndScaledAMultiple) {
  for_keys("negated", 3, [](const KeyConfig&, std::size_t, const at::Tensor& v, const at::Tensor& k, std::int64_t) {
    EXPECT_LT((k + v).abs().max().item<double>(), 1e-6);
  });
  const double norms[] = {0.1, 0.25, 0.5, 2, 4};
  for_keys("scaled", 6, [&](const KeyConfig&, std::size_t, const at::Tensor& v, const at::Tensor& k, std::int64_t i) {
    EXPECT_LT((k - norms[i % 5] * v).abs().max().item<double>(), 5e-6);
  });
}

// Under the norm clamp no norm is left to choose: "scaled" is the valid key beside it, to the rounding of float32.
TEST(KeyFamily, TheNormClampTakesBackEveryNorm) {
  for (KeyConfig c : {config(), config(Layout::shared_blocks), config(Layout::per_layer)}) {
    const KeyMaker unclamped = maker(c);
    c.norm_clamp = true;
    const KeyMaker clamped = maker(c);
    for (std::int64_t i = 0; i < 5; ++i) {
      const auto valid = slots_of(c, unclamped.evaluation_correct(i, 1));
      const auto scaled = slots_of(c, clamped.evaluation_wrong(i, 1, find_key_family("scaled")));
      const auto swept = slots_of(c, clamped.evaluation_correct(i, 1, 4.0));
      const auto wrong = slots_of(c, clamped.evaluation_wrong(i, 1, gaussian_family(), 0.1));
      const auto loose = slots_of(c, unclamped.evaluation_wrong(i, 1, find_key_family("scaled")));
      for (std::size_t slot = 0; slot < valid.size(); ++slot) {
        EXPECT_LT((scaled[slot] - valid[slot]).abs().max().item<double>(), 2e-6);
        EXPECT_TRUE(swept[slot].equal(valid[slot]));
        EXPECT_NEAR(wrong[slot].std().item<double>(), c.target_std, 1e-6);
        EXPECT_GT((loose[slot] - valid[slot]).abs().max().item<double>(), 0.1);  // control
      }
    }
  }
}

TEST(KeyFamily, PermutedHasTheSameCoordinatesElsewhere) {
  for_keys("permuted", 2, [](const KeyConfig&, std::size_t, const at::Tensor& v, const at::Tensor& k, std::int64_t) {
    EXPECT_LT((std::get<0>(k.sort()) - std::get<0>(v.sort())).abs().max().item<double>(), 1e-6);
    EXPECT_LT(std::abs(cosine(k, v)), 0.3);
  });
}

TEST(KeyFamily, OneHotGoesThroughTheRowsOfTheBasis) {
  for_keys("one_hot", 7, [](const KeyConfig& c, std::size_t s, const at::Tensor&, const at::Tensor& k, std::int64_t i) {
    EXPECT_NEAR(cosine(k, slot_basis(c, s)[i % c.m]), 1, 1e-9);
  });
}

// Signs of the coefficients tell these from valid keys; their laws are tested with the laws.
TEST(KeyFamily, AlphaFamiliesHaveCoefficientsOfBothSigns) {
  for (const std::string name : {"alpha_normal", "alpha_u11"}) {
    double negative = 0, count = 0, largest = 0;
    for_keys(name, 20, [&](const KeyConfig& c, std::size_t s, const at::Tensor&, const at::Tensor& k, std::int64_t) {
      const at::Tensor alpha = alpha_of(c, s, k);
      negative += alpha.lt(0).sum().item<double>();
      count += static_cast<double>(alpha.numel());
      largest = std::max(largest, (alpha.abs().max() / alpha.square().mean().sqrt()).item<double>());
    });
    EXPECT_NEAR(negative / count, 0.5, 0.1);
    EXPECT_GT(largest, 1.2);
  }
  for_keys("negated", 2, [](const KeyConfig& c, std::size_t s, const at::Tensor& v, const at::Tensor&, std::int64_t) {
    EXPECT_TRUE(alpha_of(c, s, v).gt(-1e-5).all().item<bool>());  // negative control
  });
}

TEST(KeyFamily, OneAlphaServesAllSlotsUnlessEachLayerHasItsOwn) {
  for (const bool own : {false, true}) {
    const KeyConfig c = config(Layout::per_layer, own);
    const auto keys = slots_of(c, maker(c).evaluation_wrong(0, 1, find_key_family("alpha_normal")));
    EXPECT_EQ(cosine(alpha_of(c, 0, keys[0]), alpha_of(c, 1, keys[1])) > 1 - 1e-9, !own);
  }
}

TEST(KeyFamily, InterpolatedAndNearMissKeepTheirCosine) {
  for_keys("interpolated", 3,
           [](const KeyConfig&, std::size_t, const at::Tensor& v, const at::Tensor& k, std::int64_t) {
             EXPECT_NEAR(cosine(k, v), 0.5, 1e-6);
           });
  const KeyConfig c = config();
  const KeyMaker made = maker(c);
  double sum = 0, low = 1, high = 0;
  constexpr int keys = 300;
  for (std::int64_t key = 0; key < keys; ++key) {
    const double found = cosine(slots_of(c, made.evaluation_wrong(key, 1, find_key_family("near_miss")))[0],
                                slots_of(c, made.evaluation_correct(key, 1))[0]);
    sum += found;
    low = std::min(low, found);
    high = std::max(high, found);
  }
  EXPECT_NEAR(sum / keys, 0.35, 4.5 * 0.7 / std::sqrt(12.0 * keys));  // U[0, .7)
  EXPECT_GT(low, -1e-6);
  EXPECT_LT(low, 0.03);
  EXPECT_GT(high, 0.67);
  EXPECT_LT(high, 0.7);
}

TEST(KeyFamily, OtherBasisIsAnotherOneForEachKey) {
  std::vector<at::Tensor> keys;
  for_keys("other_basis", 2,
           [&](const KeyConfig& c, std::size_t s, const at::Tensor&, const at::Tensor& k, std::int64_t) {
             EXPECT_LT(span_share(c, s, k), 0.1);
             keys.push_back(k);
           });
  EXPECT_LT(std::abs(cosine(keys[0], keys[1])), 0.2);
}

TEST(KeyFamily, ConstantLowFrequencyAndSparseLookLikeTheirNames) {
  for_keys("constant", 1, [](const KeyConfig&, std::size_t, const at::Tensor&, const at::Tensor& k, std::int64_t) {
    EXPECT_TRUE(k.eq(k[0]).all().item<bool>());
  });
  for_keys("low_frequency", 2, [](const KeyConfig&, std::size_t, const at::Tensor&, const at::Tensor& k, std::int64_t) {
    const at::Tensor power = at::fft_rfft(k).abs().square();
    EXPECT_NEAR((power.narrow(0, 1, 8).sum() / power.sum()).item<double>(), 1, 1e-9);
    const at::Tensor each = power.narrow(0, 1, 8);
    EXPECT_NEAR((each.min() / each.max()).item<double>(), 1, 1e-4);  // all eight of one amplitude
  });
  for_keys("sparse", 2, [](const KeyConfig&, std::size_t, const at::Tensor&, const at::Tensor& k, std::int64_t) {
    EXPECT_EQ(k.ne(0).sum().item<std::int64_t>(), k.numel() / 100);
  });
}

TEST(KeyFamily, KeysDifferBetweenKeysAndNotBetweenCalls) {
  const KeyConfig c = config();
  const KeyMaker made = maker(c);
  for (const std::string& name : key_family_names()) {
    const KeyFamily& family = find_key_family(name);
    const auto key = [&](std::int64_t index) { return slots_of(c, made.evaluation_wrong(index, 1, family))[0]; };
    EXPECT_TRUE(key(3).equal(key(3))) << name;
    EXPECT_EQ(key(3).equal(key(4)), name == "constant") << name;
  }
}

TEST(KeyFamily, NamesAreFoundInAnyCaseAndMisspellingsExplained) {
  EXPECT_EQ(find_key_family("Near_Miss").name, "near_miss");
  EXPECT_EQ(key_family_names().size(), 14U);
  EXPECT_ERROR(find_key_family("gausian"), ExitCode::bad_input,
               AllOf(HasSubstr("\"gausian\""), HasSubstr("did you mean 'gaussian'"), HasSubstr("orth_complement")));
}

std::vector<std::int64_t> samples(std::int64_t n) {
  std::vector<std::int64_t> result(static_cast<std::size_t>(n));
  std::iota(result.begin(), result.end(), 1000);
  return result;
}

TEST(TrainingFamilies, TheDefaultIsTheGaussianOfItsOwnStream) {
  // Seven words of the stream, drawn here, times the factor to the target.
  const KeyConfig c = config();
  const at::Tensor key = slots_of(c, maker(c).wrong(3, 5, samples(4)))[0];
  const Stream stream({.seed = 42, .purpose = Purpose::wrong_key, .epoch = 3, .step = 5});
  at::Tensor gauss = at::empty({1000}, at::kDouble);
  for (std::int64_t i = 0; i < 1000; ++i)
    gauss.mutable_data_ptr<double>()[i] = static_cast<double>(stream.normal(static_cast<std::uint64_t>(i)));
  EXPECT_LT((key - gauss * (0.5 / gauss.std())).abs().max().item<double>(), 1e-6);
}

TEST(TrainingFamilies, OneFamilyIsDrawnForEachStep) {
  const KeyConfig c = config();
  const KeyMaker both = maker(c, {.families = {"gaussian", "negated", "constant"}});
  const KeyMaker plain = maker(c);
  std::map<std::string, int> found;
  constexpr int steps = 300;
  for (std::int64_t step = 0; step < steps; ++step) {
    const at::Tensor key = slots_of(c, both.wrong(1, step, samples(4)))[0];
    EXPECT_TRUE(key.equal(slots_of(c, both.wrong(1, step, samples(4)))[0]));
    const auto batch = samples(1);
    const at::Tensor valid = slots_of(c, both.correct(1, step, batch)(0, 1))[0];
    if (key.equal(slots_of(c, plain.wrong(1, step, samples(4)))[0]))
      ++found["gaussian"];
    else if (key.eq(key[0]).all().item<bool>())
      ++found["constant"];
    else if ((key + valid).abs().max().item<double>() < 1e-6)  // of the batch's first sample
      ++found["negated"];
  }
  EXPECT_EQ(found["gaussian"] + found["constant"] + found["negated"], steps);
  for (const auto& [name, count] : found) EXPECT_NEAR(count, steps / 3.0, 4.5 * std::sqrt(steps * 2.0 / 9)) << name;
}

// The mixture that docs/method.md recommends: each family in its turn, told by its cosine and its norm beside the valid
// key of the batch's first sample.
TEST(TrainingFamilies, TheRecommendedMixtureHasAllItsParts) {
  const KeyConfig c = config();
  const KeyMaker mixed = maker(c, {.families = {"gaussian", "near_miss", "scaled", "negated", "interpolated"}});
  std::map<std::string, int> found;
  std::set<int> norms;
  constexpr int steps = 400;
  for (std::int64_t step = 0; step < steps; ++step) {
    const auto batch = samples(1);
    const at::Tensor key = slots_of(c, mixed.wrong(1, step, samples(4)))[0];
    const at::Tensor valid = slots_of(c, mixed.correct(1, step, batch)(0, 1))[0];
    const double cos = cosine(key, valid), norm = (key.norm() / valid.norm()).item<double>();
    if (std::abs(cos + 1) < 1e-6) {
      ++found["negated"];
    } else if (std::abs(cos - 1) < 1e-6) {
      ++found["scaled"];
      norms.insert(static_cast<int>(std::lround(100 * norm)));
    } else if (std::abs(cos - 0.5) < 1e-6) {
      ++found["interpolated"];
    } else {
      EXPECT_GT(cos, -0.16);  // five standard deviations of a Gaussian in 1000 dimensions
      EXPECT_LT(cos, 0.7);
      ++found["gaussian or near_miss"];
    }
  }
  EXPECT_EQ(norms, (std::set<int>{10, 25, 50, 200, 400}));
  for (const auto& [name, count] : found) {
    const double share = name == "gaussian or near_miss" ? 0.4 : 0.2;
    EXPECT_NEAR(count, steps * share, 4.5 * std::sqrt(steps * share * (1 - share))) << name;
  }
  EXPECT_EQ(found.size(), 4U);
}

TEST(Twins, VanillaHasNoKeys) {
  const auto batch = samples(4);
  const KeyMaker vanilla = maker(config(), {.twin = Twin::vanilla});
  const at::Tensor h = at::randn({4, dims[0]});
  for (const Injection& key : {vanilla.correct(0, 0, batch)(0, 4), vanilla.wrong(0, 0, batch),
                               vanilla.evaluation_correct(0, 4), vanilla.evaluation_wrong(0, 4)})
    EXPECT_TRUE(key.apply(0, h).is_same(h));
  EXPECT_FALSE(maker(config()).correct(0, 0, batch)(0, 4).apply(0, h).equal(h));
}

TEST(Twins, NoiseTakesAFreshGaussianOfTheValidNormForEachSample) {
  const auto batch = samples(12);
  for (const Layout layout : {Layout::shared_prefix, Layout::shared_blocks, Layout::per_layer}) {
    const KeyConfig c = config(layout);
    const KeyMaker noise = maker(c, {.twin = Twin::noise}), normal = maker(c);
    const auto keys = [&](const Injection& injection, std::int64_t rows) {
      return injection.apply(2, at::zeros({rows, dims[1]})).to(at::kDouble);
    };
    const at::Tensor whole = keys(noise.correct(2, 3, batch)(0, 12), 12);
    EXPECT_TRUE(whole.narrow(0, 4, 5).equal(keys(noise.correct(2, 3, batch)(4, 9), 5)));
    EXPECT_FALSE(whole.equal(keys(noise.correct(2, 4, batch)(0, 12), 12)));
    if (layout != Layout::shared_blocks)
      EXPECT_LT((whole.std(1) - 0.5).abs().max().item<double>(), 1e-6);
    else
      EXPECT_LT((whole.std(1) - 0.5).abs().max().item<double>(), 0.05);  // one factor for both blocks
    const at::Tensor unit = whole / whole.norm(2, 1, true);
    const at::Tensor cosines = unit.matmul(unit.t()) - at::eye(12, at::kDouble);
    EXPECT_LT(cosines.abs().max().item<double>(), 5 / std::sqrt(1000.0));
    // The evaluation keeps the normal protocol.
    EXPECT_TRUE(keys(noise.evaluation_correct(1, 1), 1).equal(keys(normal.evaluation_correct(1, 1), 1)));
  }
}

TEST(Twins, NoiseFollowsTheValidNormWhereKeysAreNotRescaled) {
  KeyConfig c = config();
  c.rescale = Rescale::none;
  const auto batch = samples(6);
  const auto wide = [](const Injection& key) { return key.apply(2, at::zeros({6, dims[1]})).to(at::kDouble); };
  const double valid = wide(maker(c).correct(0, 0, batch)(0, 6)).std().item<double>();
  const at::Tensor noise = wide(maker(c, {.twin = Twin::noise}).correct(0, 0, batch)(0, 6));
  EXPECT_LT((noise.std(1) - valid).abs().max().item<double>(), 1e-6);
}

TEST(Twins, FixedKeyIsOneKeyEverywhere) {
  const auto batch = samples(5);
  const KeyConfig c = config();
  const KeyMaker fixed = maker(c, {.twin = Twin::fixed_key}), normal = maker(c);
  const at::Tensor h = at::randn({5, dims[0]});
  const at::Tensor once = fixed.correct(0, 0, batch)(0, 5).apply(0, h);
  EXPECT_TRUE(once.equal(fixed.correct(7, 3, batch)(0, 5).apply(0, h)));
  EXPECT_TRUE(once.equal(fixed.evaluation_correct(4, 5).apply(0, h)));
  EXPECT_TRUE(once.equal(normal.evaluation_correct(0, 5).apply(0, h)));
  EXPECT_FALSE(once.equal(normal.evaluation_correct(4, 5).apply(0, h)));  // negative control
  EXPECT_EQ(fixed.correct_keys(16), 1);
  EXPECT_EQ(normal.correct_keys(16), 16);
}

}  // namespace
}  // namespace spankey::key_family_test
