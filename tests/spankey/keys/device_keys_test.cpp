// Keys drawn where the samples lie, against those that the host draws.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <numeric>
#include <vector>

#include "spankey/keys/key_maker.h"

namespace spankey::device_keys_test {
namespace {

const std::vector<std::int64_t> dims = {60, 201};  // of injection points 0 and 2; no multiple of a block of draws

Config config(Rescale rescale = Rescale::key, bool per_layer_key = false, Layout layout = Layout::shared_prefix) {
  Config c;
  c.run.seed = 43;
  c.key.layers = {0, 2};
  c.key.m = 10;
  c.key.rescale = rescale;
  c.key.per_layer_key = per_layer_key;
  c.key.layout = layout;
  return c;
}

std::vector<std::int64_t> samples(std::int64_t n) {
  std::vector<std::int64_t> result(static_cast<std::size_t>(n));
  std::iota(result.begin(), result.end(), 1000);
  return result;
}

bool equal_keys(const Injection& a, const Injection& b) {
  for (const std::int64_t point : {0, 2}) {
    const at::Tensor one = a.keys_at(point), other = b.keys_at(point);
    if (one.defined() != other.defined() || (one.defined() && !one.equal(other))) return false;
  }
  return true;
}

// Both ways to draw the keys of one configuration.
struct Both {
  explicit Both(const Config& c) : basis(make_basis(c.key, dims, 7)), keys(c, basis) {}

  // True where both give the same bits for a batch; `step_off`: added to the step of the device's keys.
  bool agree(std::int64_t epoch, std::int64_t step, std::int64_t step_off = 0) const {
    const auto batch = samples(13);
    const at::Tensor ids = at::tensor(batch, at::kLong), position = at::tensor({epoch, step + step_off}, at::kLong);
    return equal_keys(keys.correct(epoch, step, batch)(0, 13), keys.correct(ids, position)(0, 13)) &&
           equal_keys(keys.correct(epoch, step, batch)(4, 9), keys.correct(ids, position)(4, 9)) &&
           equal_keys(keys.wrong(epoch, step, batch), keys.wrong(ids, position));
  }

  Basis basis;
  KeyMaker keys;
};

TEST(DeviceKeys, AreThoseOfTheHostBitForBit) {
  for (const Rescale rescale : {Rescale::batch, Rescale::key, Rescale::none}) {
    for (const bool per_layer_key : {false, true}) {
      for (const Layout layout : {Layout::shared_prefix, Layout::per_layer, Layout::shared_blocks}) {
        const Both both(config(rescale, per_layer_key, layout));
        for (const std::int64_t epoch : {0, 3})
          for (const std::int64_t step : {0, 5}) EXPECT_TRUE(both.agree(epoch, step));
        EXPECT_FALSE(both.agree(3, 5, 1));
      }
    }
  }
}

TEST(DeviceKeys, KnowEveryLawOfTheCoefficientsButTheCodebook) {
  for (const AlphaLaw law : {AlphaLaw::u01, AlphaLaw::u11, AlphaLaw::gauss, AlphaLaw::sphere, AlphaLaw::simplex}) {
    Config c = config();
    c.key.alpha = law;
    EXPECT_FALSE(why_keys_on_host(c));
    EXPECT_TRUE(Both(c).agree(2, 7));
    EXPECT_FALSE(Both(c).agree(2, 7, 1));
  }
}

TEST(DeviceKeys, FollowTheProtocolAndTheWidthOfTheSeed) {
  Config c = config(Rescale::none);
  c.run.compat = Compat::reference;
  EXPECT_TRUE(Both(c).agree(1, 1));
  c = config();
  c.run.seed = std::int64_t{1} << 40;
  EXPECT_TRUE(Both(c).agree(1, 1));
}

TEST(DeviceKeys, BringAKeyWithoutADeviationToTheTargetByItsRootMeanSquare) {
  Config c = config();
  c.key.layers = {0};
  const Basis basis = make_basis(c.key, {1}, 7);
  const at::Tensor position = at::tensor({0, 0}, at::kLong), ids = at::tensor({5}, at::kLong);
  const at::Tensor key = KeyMaker(c, basis).wrong(ids, position).keys_at(0);
  EXPECT_NEAR(key.abs().item<double>(), c.key.target_std, 1e-6);
  EXPECT_TRUE(key.equal(KeyMaker(c, basis).wrong(0, 0, std::vector<std::int64_t>{5}).keys_at(0)));
}

TEST(DeviceKeys, OfTheKeylessTwinAreNone) {
  Config c = config();
  c.train.twin = Twin::vanilla;
  const Both both(c);
  EXPECT_TRUE(both.agree(0, 0));
  EXPECT_FALSE(both.keys.wrong(at::tensor({5}, at::kLong), at::tensor({0, 0}, at::kLong)).keys_at(0).defined());
}

TEST(DeviceKeys, SayWhatOnlyTheHostDraws) {
  EXPECT_FALSE(why_keys_on_host(config()));
  Config c = config();
  c.key.alpha = AlphaLaw::codebook;
  EXPECT_NE(why_keys_on_host(c).value_or("").find("key.alpha"), std::string::npos);
  c = config();
  c.deny.families = {"gaussian", "other_basis"};
  EXPECT_NE(why_keys_on_host(c).value_or("").find("deny.families"), std::string::npos);
  for (const Twin twin : {Twin::noise, Twin::fixed_key}) {
    c = config();
    c.train.twin = twin;
    EXPECT_NE(why_keys_on_host(c).value_or("").find("train.twin"), std::string::npos);
  }
}

TEST(DeviceKeys, KeysThatOnlyTheHostDrawsAreRefused) {
  Config c = config();
  c.key.alpha = AlphaLaw::codebook;
  const KeyMaker keys(c, make_basis(c.key, dims, 7));
  const at::Tensor ids = at::tensor({5}, at::kLong), position = at::tensor({0, 0}, at::kLong);
  EXPECT_ANY_THROW(keys.correct(ids, position)(0, 1));
  EXPECT_ANY_THROW(keys.wrong(ids, position));
}

}  // namespace
}  // namespace spankey::device_keys_test
