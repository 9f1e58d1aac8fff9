#include "spankey/keys/basis.h"

#include <ATen/ATen.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <cmath>
#include <vector>

#include "spankey/ops/gram.h"
#include "support/expect_error.h"

namespace spankey::basis_test {
namespace {

using testing::AllOf, testing::HasSubstr;

KeyConfig config(std::int64_t m, BasisLaw law = BasisLaw::uniform, Layout layout = Layout::shared_prefix) {
  KeyConfig result;
  result.m = m;
  result.basis = law;
  result.layout = layout;
  return result;
}

TEST(Basis, UniformEntriesHaveTheReferenceLaw) {
  const at::Tensor b = make_basis(config(16), {20000}, 7).layers[0].to(at::kDouble);
  const double bound = 0.25;  // 16^-1/2
  EXPECT_LT(b.max().item<double>(), bound);
  EXPECT_GE(b.min().item<double>(), -bound);
  // Of 320,000 draws: mean 0, variance bound^2 / 3, within 5 standard errors.
  const double sd = bound / std::sqrt(3.0), n = 320000;
  EXPECT_NEAR(b.mean().item<double>(), 0, 5 * sd / std::sqrt(n));
  EXPECT_NEAR(b.square().mean().item<double>(), sd * sd, 5 * sd * sd * std::sqrt(0.8) / std::sqrt(n));
}

TEST(Basis, OrthonormalRowsAreOrthonormal) {
  const at::Tensor b = make_basis(config(12, BasisLaw::orthonormal), {300}, 7).layers[0].to(at::kDouble);
  EXPECT_LT((b.matmul(b.t()) - at::eye(12, at::kDouble)).abs().max().item<double>(), 1e-6);
  // Even for rows that nearly coincide.
  at::Tensor near = at::ones({3, 50}, at::kDouble) + 1e-9 * at::randn({3, 50}, at::kDouble);
  const at::Tensor q = orthonormal_rows(near);
  EXPECT_LT((q.matmul(q.t()) - at::eye(3, at::kDouble)).abs().max().item<double>(), 1e-12);
}

TEST(Basis, AConeHasOneSignInEachColumn) {
  for (const auto layout : {Layout::shared_prefix, Layout::per_layer, Layout::shared_blocks}) {
    const Basis basis = make_basis(config(6, BasisLaw::cone, layout), {300, 5000}, 7);
    for (const at::Tensor& layer : basis.layers) {
      EXPECT_TRUE(layer.sign().equal(layer[0].sign().expand_as(layer)));
      EXPECT_GT(layer.abs().min().item<double>(), 0.0);
      for (int i = 0; i < 20; ++i) EXPECT_TRUE(at::rand({6}).matmul(layer).sign().equal(layer[0].sign()));
    }
    // Half of 5,000 secret signs, within 5 standard errors.
    EXPECT_NEAR(basis.layers[1][0].gt(0).to(at::kDouble).mean().item<double>(), 0.5, 5 * 0.5 / std::sqrt(5000.0));
  }
  // Sizes |N(0, 1)| / sqrt(m): mean sqrt(2 / pi), mean square 1, within 5 standard errors of 30,000 draws.
  const at::Tensor size =
      make_basis(config(6, BasisLaw::cone), {5000}, 7).layers[0].to(at::kDouble).abs() * std::sqrt(6.0);
  EXPECT_NEAR(size.mean().item<double>(), std::sqrt(2 / 3.14159265358979), 5 * 0.603 / std::sqrt(30000.0));
  EXPECT_NEAR(size.square().mean().item<double>(), 1.0, 5 * std::sqrt(2.0 / 30000.0));
  const at::Tensor other = make_basis(config(6, BasisLaw::cone), {5000}, 8).layers[0];
  EXPECT_FALSE(other[0].sign().equal(make_basis(config(6, BasisLaw::cone), {5000}, 7).layers[0][0].sign()));
}

TEST(Basis, MoreRowsThanColumnsCannotBeOrthonormal) {
  EXPECT_ERROR(make_basis(config(30, BasisLaw::orthonormal), {20}, 1), ExitCode::bad_input,
               AllOf(HasSubstr("key.m = 30"), HasSubstr("20")));
}

TEST(Basis, LayoutsChooseTheColumns) {
  const Basis shared = make_basis(config(4), {10, 30, 20}, 3);
  EXPECT_TRUE(shared.layers[0].equal(shared.layers[1].narrow(1, 0, 10)));
  EXPECT_TRUE(shared.layers[2].equal(shared.layers[1].narrow(1, 0, 20)));
  const Basis own = make_basis(config(4, BasisLaw::uniform, Layout::per_layer), {10, 30, 20}, 3);
  EXPECT_FALSE(own.layers[0].equal(own.layers[1].narrow(1, 0, 10)));
  EXPECT_EQ(own.layers[2].sizes(), (std::vector<std::int64_t>{4, 20}));
  // Blocks: one basis of all widths together, cut in order.
  const at::Tensor wide = make_basis(config(4), {60}, 3).layers[0];
  const Basis blocks = make_basis(config(4, BasisLaw::uniform, Layout::shared_blocks), {10, 30, 20}, 3);
  EXPECT_TRUE(at::cat(blocks.layers, 1).equal(wide));
  const Basis rows = make_basis(config(4, BasisLaw::orthonormal, Layout::shared_blocks), {10, 30, 20}, 3);
  const at::Tensor whole = at::cat(rows.layers, 1).to(at::kDouble);
  EXPECT_LT((whole.matmul(whole.t()) - at::eye(4, at::kDouble)).abs().max().item<double>(), 1e-6);
}

TEST(Basis, DigestSeesSeedShapeAndSingleBits) {
  const Basis basis = make_basis(config(4), {10}, 3);
  EXPECT_EQ(basis_digest(basis), basis_digest(make_basis(config(4), {10}, 3)));
  EXPECT_NE(basis_digest(basis), basis_digest(make_basis(config(4), {10}, 4)));
  EXPECT_NE(basis_digest(basis), basis_digest({{basis.layers[0].view({10, 4})}}));
  at::Tensor touched = basis.layers[0].clone();
  float& value = touched.mutable_data_ptr<float>()[7];
  value = std::nextafter(value, 1.0f);
  EXPECT_NE(basis_digest(basis), basis_digest({{touched}}));
}

TEST(Gram, StandardDeviationsEqualThoseOfTheFormedKeys) {
  at::manual_seed(1);
  const at::Tensor b = make_basis(config(8), {500}, 3).layers[0], alphas = at::rand({6, 8}, at::kDouble);
  const Gram gram = make_gram(b);
  const at::Tensor keys = alphas.matmul(b.to(at::kDouble));
  EXPECT_NEAR(key_std(gram, alphas), keys.std().item<double>(), 1e-13);
  EXPECT_LT((key_std_rows(gram, alphas) - keys.std(1)).abs().max().item<double>(), 1e-13);
  const at::Tensor one = keys.narrow(0, 0, 1).expand({9, 500});
  EXPECT_NEAR(key_std(gram, alphas.narrow(0, 0, 1), 9), one.std().item<double>(), 1e-13);
  EXPECT_NEAR(expanded_std(keys[0], 9), one.std().item<double>(), 1e-13);
  // Negative control: the biased estimate is another number.
  EXPECT_GT(std::abs(key_std(gram, alphas) - keys.std(false).item<double>()), 1e-6);
}

TEST(Gram, NoTargetMeansNoRescaling) {
  EXPECT_EQ(rescale_factor(0.2, 0.0), 1.0);
  EXPECT_NEAR(rescale_factor(0.2, 0.5), 2.5, 1e-6);
}

constexpr std::size_t marks = 4096;

// Never in memory as such before it is asked for: built from `i` alone.
std::uint32_t mark(std::size_t i) {
  return static_cast<std::uint32_t>((i + 1) * 2654435761U);
}

// Bytes of `values` that still hold the marks, read past every check of who owns them.
std::int64_t marks_left_at(const void* values) {
  static std::array<std::uint32_t, marks> found;  // memory of its own: a new block might be the one that is looked at
  const int memory = open("/proc/self/mem", O_RDONLY);
  const auto count = pread(memory, found.data(), sizeof found, reinterpret_cast<off_t>(values));
  close(memory);
  std::int64_t left = 0;
  for (std::size_t i = 0; count > 0 && i < marks; ++i) left += found[i] == mark(i);
  return left;
}

TEST(SecretMatrix, IsWipedWithItsLastReference) {
  const auto left_after_release = [](at::Tensor matrix) {
    auto* values = static_cast<std::uint32_t*>(matrix.mutable_data_ptr());
    for (std::size_t i = 0; i < marks; ++i) values[i] = mark(i);
    {
      const at::Tensor row = matrix[1];
      matrix.reset();
      EXPECT_EQ(marks_left_at(values), static_cast<std::int64_t>(marks)) << "a row is still in use";
    }
    return marks_left_at(values);
  };
  EXPECT_EQ(left_after_release(secret_matrix(4, marks / 4)), 0);
  EXPECT_GT(left_after_release(at::empty({4, marks / 4}, at::kFloat)), 0) << "the control";
  const auto copied = secret_copy(at::arange(6).view({2, 3}), at::kDouble);
  EXPECT_TRUE(at::equal(copied, at::tensor({0, 1, 2, 3, 4, 5}, at::kDouble).view({2, 3})));
}

}  // namespace
}  // namespace spankey::basis_test
