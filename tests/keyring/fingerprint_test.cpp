#include "keyring/fingerprint.h"

#include <gtest/gtest.h>

#include "key_owner.h"
#include "support/expect_error.h"

namespace spankey::fingerprint_test {
namespace {

using test::KeyOwner;
using testing::HasSubstr;

KeyConfig config(Layout layout = Layout::shared_prefix, bool per_layer_key = false) {
  KeyConfig c;
  c.m = 6;
  c.layout = layout;
  c.per_layer_key = per_layer_key;
  return c;
}

const std::vector<KeyConfig> layouts = {config(), config(Layout::shared_prefix, true), config(Layout::per_layer),
                                        config(Layout::shared_blocks)};
const std::vector<std::int64_t> widths = {120, 400};

double cosine(const at::Tensor& a, const at::Tensor& b) {
  return (a.to(at::kDouble).dot(b.to(at::kDouble)) / (a.to(at::kDouble).norm() * b.to(at::kDouble).norm()))
      .item<double>();
}

// The part of `key` that the rows of `basis` make, by least squares.
at::Tensor in_span(const at::Tensor& basis, const at::Tensor& key) {
  const at::Tensor rows = basis.to(at::kDouble), column = key.to(at::kDouble).unsqueeze(1);
  return rows.t().matmul(std::get<0>(at::linalg_lstsq(rows.t(), column))).squeeze(1);
}

double span_energy(const at::Tensor& basis, const at::Tensor& key) {
  return (in_span(basis, key).square().sum() / key.to(at::kDouble).square().sum()).item<double>();
}

// The key derivation of libsodium is BLAKE2b with the serial as salt and the purpose as personal string. Expected:
// hashlib.blake2b(key=master, salt=serial, person=b"fingerpr", digest_size=32) of Python 3.11, its first
// 16 bytes read as two little-endian words.
TEST(Fingerprint, SeedsAreThoseOfTheKeyDerivation) {
  SecretBytes master(32);
  for (std::size_t i = 0; i < master.size(); ++i) master.bytes()[i] = static_cast<std::byte>(i);
  const auto first = derive_fingerprint_seed(master, 1), large = derive_fingerprint_seed(master, 0x0102030405060708);
  EXPECT_EQ(first.seed, 0x64d752c87062589aU);
  EXPECT_EQ(first.stream, 0x282a74095dab5193U);
  EXPECT_EQ(large.seed, 0x640364592934deccU);
  EXPECT_EQ(large.stream, 0xc6daa814aa20d24fU);
}

TEST(Fingerprint, IsAUnitVectorOutsideTheSpanOfItsSite) {
  for (const KeyConfig& c : layouts) {
    const KeyOwner owner(c, widths);
    const auto sites = owner.keys().fingerprint(owner.user(3).seed);
    for (std::size_t site = 0; site < widths.size(); ++site) {
      EXPECT_EQ(sites[site].numel(), widths[site]);
      EXPECT_NEAR(sites[site].norm().item<double>(), 1, 1e-12);
      EXPECT_LT(span_energy(owner.basis().layers[site], sites[site]), 1e-20);
    }
  }
}

TEST(Fingerprint, AnotherSerialOrSlotHasAnother) {
  const KeyOwner owner(config(Layout::per_layer), {400, 400});
  const auto first = owner.keys().fingerprint(owner.user(1).seed),
             second = owner.keys().fingerprint(owner.user(2).seed);
  // The cosine of two random directions has the standard deviation 1 / sqrt(d - m) = .05.
  EXPECT_LT(std::abs(cosine(first[0], second[0])), 0.25);
  EXPECT_LT(std::abs(cosine(first[0], first[1])), 0.25);
  EXPECT_TRUE(at::equal(first[0], owner.keys().fingerprint(owner.user(1).seed)[0]));
}

TEST(IssuedKey, HasTheShareOfTheFingerprintOutsideTheSpanOfItsSlot) {
  for (const double phi : {0.05, 0.1, 0.19}) {
    const KeyOwner prefix(config(), widths, phi), layers(config(Layout::per_layer), widths, phi);
    EXPECT_NEAR(span_energy(prefix.basis().layers[1], prefix.key(5, 1)), 1 - phi, 1e-6);
    for (std::size_t site = 0; site < 2; ++site)
      EXPECT_NEAR(span_energy(layers.basis().layers[site], layers.key(5, site)), 1 - phi, 1e-6);
    const KeyOwner blocks(config(Layout::shared_blocks), widths, phi);
    EXPECT_NEAR(span_energy(at::cat(blocks.basis().layers, 1), at::cat({blocks.key(5, 0), blocks.key(5, 1)})), 1 - phi,
                1e-6);
  }
}

TEST(IssuedKey, PointsToItsValidKeyWithinTheSpan) {
  for (const KeyConfig& c : layouts) {
    const KeyOwner owner(c, widths);
    const auto user = owner.user(4);
    const at::Tensor& basis = owner.basis().layers[1];
    const at::Tensor valid = user.alphas.back().matmul(basis);  // the last slot is that of the wide site
    EXPECT_GT(cosine(valid, owner.key(4, 1)), std::sqrt(0.9) - 0.05) << "blocks share one fingerprint of energy .1";
    if (c.layout == Layout::shared_blocks) continue;
    EXPECT_NEAR(cosine(in_span(basis, owner.key(4, 1)), valid), 1, 1e-6);
  }
}

TEST(IssuedKey, HasTheStandardDeviationOfTheTarget) {
  auto scaled = config();
  scaled.target_std = 0.7;
  const KeyOwner owner(scaled, widths);
  EXPECT_NEAR(owner.key(1, 1).to(at::kDouble).std().item<double>(), 0.7, 1e-5);
  EXPECT_TRUE(at::equal(owner.key(1, 0), owner.key(1, 1).narrow(0, 0, widths[0]))) << "a narrower site has the prefix";
  auto bare = config();
  bare.rescale = Rescale::none;
  const KeyOwner plain(bare, widths);
  const at::Tensor valid = plain.user(1).alphas[0].matmul(plain.basis().layers[1]);
  EXPECT_NEAR(plain.key(1, 1).std().item<double>(), valid.std().item<double>(), 1e-4);
}

TEST(IssuedKey, CoefficientsOfItsPartInTheSpanAreAlphaTimesOneFactor) {
  const KeyOwner owner(config(), widths);
  const auto user = owner.user(9);
  const at::Tensor alpha = owner.keys().coefficients(1, owner.key(9, 1));
  EXPECT_NEAR(cosine(alpha, user.alphas[0]), 1, 1e-10);
}

TEST(KeyIssuer, ASiteWithoutRoomOutsideTheSpanIsRefused) {
  auto narrow = config();
  narrow.m = 32;
  EXPECT_ERROR(KeyOwner(narrow, {39, 400}), ExitCode::bad_input,
               HasSubstr("key.m = 32: injection point 0 has 39 elements"));
  KeyOwner(narrow, {40, 400});
}

}  // namespace
}  // namespace spankey::fingerprint_test
