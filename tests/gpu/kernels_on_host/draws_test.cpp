// Drawing and rescaling of keys for CUDA, run on the host: bit for bit what the CPU computes.
#include "base/stream.h"
#include "config/enums.h"
#include "spankey/ops/draw_op.h"
#include "spankey/ops/gram.h"
#include "support.h"

namespace spankey::draws_test {
namespace {

constexpr std::uint64_t seed = (std::uint64_t{1} << 40) + 43;  // both halves count

class DrawsOnHost : public KernelsOnHost {
 protected:
  const at::Tensor position_ = at::tensor({3, 5}, at::kLong), next_ = at::tensor({3, 6}, at::kLong);

  static at::Tensor samples(std::int64_t n) { return at::arange(n, at::kLong) + (std::int64_t{1} << 33); }
};

at::Tensor deviations(const at::Tensor& alphas, const SlotGrams& grams, bool each) {
  return call_cuda<signature::AlphaStd>("spankey::alpha_std", alphas, grams.products, grams.sums, grams.widths, each);
}

constexpr auto number(Purpose purpose) {
  return static_cast<std::int64_t>(purpose);
}

TEST_F(DrawsOnHost, CoefficientsAreThoseOfTheCpu) {
  for (const AlphaLaw law : {AlphaLaw::u01, AlphaLaw::u11, AlphaLaw::gauss, AlphaLaw::sphere, AlphaLaw::simplex}) {
    for (const std::int64_t n : {0, 1, 33, 130}) {
      for (const std::int64_t m : {1, 4, 33, 257}) {
        if (n == 130 && m > 33) continue;
        const auto drawn = [&](const at::Tensor& position) {
          return call_cuda<signature::DrawAlphas>("spankey::draw_alphas", samples(n), position,
                                                  static_cast<std::int64_t>(law), m, 3, static_cast<std::int64_t>(seed),
                                                  number(Purpose::alpha));
        };
        const at::Tensor expected = draw_alphas(samples(n), position_, law, m, 3, seed, Purpose::alpha);
        EXPECT_TRUE(at::equal(drawn(position_), expected)) << static_cast<int>(law) << " " << n << " " << m;
        // The control: another step draws others, unless the law leaves no choice.
        if (n > 0 && m > 1) {
          EXPECT_FALSE(at::equal(drawn(next_), expected));
        }
      }
    }
  }
}

TEST_F(DrawsOnHost, IntegersAreThoseOfTheCpu) {
  for (const std::int64_t n : {0, 1, 300}) {
    const auto drawn = [&](const at::Tensor& position) {
      return call_cuda<signature::DrawBelow>("spankey::draw_below", samples(n), position, 1000,
                                             static_cast<std::int64_t>(seed), number(Purpose::deny_label));
    };
    EXPECT_TRUE(at::equal(drawn(position_), draw_below(samples(n), position_, 1000, seed, Purpose::deny_label))) << n;
    if (n > 0) {
      EXPECT_FALSE(at::equal(drawn(next_), drawn(position_)));
    }
  }
}

TEST_F(DrawsOnHost, DeviationsAndScaledCoefficientsAreThoseOfTheCpu) {
  at::manual_seed(1);
  for (const std::int64_t m : {1, 33, 64, 257}) {
    const SlotGrams grams = slot_grams(
        {make_gram(at::randn({m, 130})), make_gram(at::randn({m, 9})), make_gram(at::randn({m, 1}))}, at::kCPU);
    for (const std::int64_t n : {1, 37, 257}) {
      if (n * m > 257 * 64) continue;
      for (const bool shared : {false, true}) {
        const at::Tensor alphas = at::rand({shared ? 1 : 3, n, m});
        for (const bool each : {false, true}) {
          const at::Tensor std = deviations(alphas, grams, each);
          EXPECT_TRUE(at::equal(std, alpha_std(alphas, grams, each))) << n << " " << m << each << shared;
          const std::int64_t begin = n / 3, end = n - n / 4;
          EXPECT_TRUE(
              at::equal(call_cuda<signature::ScaleAlphas>("spankey::scale_alphas", alphas, std, 0.5, begin, end),
                        scale_alphas(alphas, std, 0.5, begin, end)));
          // The control: other sums of a basis, other deviations.
          EXPECT_FALSE(at::equal(std, alpha_std(alphas, {grams.products, grams.sums + 1, grams.widths}, each)));
        }
      }
    }
  }
}

// More slots than one launch takes. Each key is drawn and scaled as the CPU does it for KeyMaker, from base/stream.h.
TEST_F(DrawsOnHost, WrongKeysAreThoseOfTheCpu) {
  std::vector<std::int64_t> widths{1, 4, 201, 1030}, begins{0, 8, 16, 224, 1256};
  while (widths.size() < 70) {
    widths.push_back(5);
    begins.push_back(begins.back() + 8);
  }
  at::Tensor target = at::full({std::ssize(widths)}, 0.5, at::kDouble);
  target[2] = 0.0;
  for (const std::int64_t repeats : {1, 512}) {
    const auto drawn = [&](const at::Tensor& position) {
      return call_cuda<signature::DrawWrongKeys>("spankey::draw_wrong_keys", position, begins, widths, target, repeats,
                                                 static_cast<std::int64_t>(seed), number(Purpose::wrong_key));
    };
    const at::Tensor keys = drawn(position_), others = drawn(next_);
    const auto same = draw_wrong_keys(position_, widths, target, repeats, seed, Purpose::wrong_key);
    for (std::size_t slot = 0; slot < widths.size(); ++slot) {
      const auto key = [&](const at::Tensor& all) { return all.narrow(0, begins[slot], widths[slot]); };
      at::Tensor expected = at::empty({widths[slot]}, at::kFloat);
      Stream({.seed = seed,
              .purpose = Purpose::wrong_key,
              .epoch = 3,
              .step = 5,
              .layer = static_cast<std::uint32_t>(slot)})
          .fill_normal({expected.mutable_data_ptr<float>(), static_cast<std::size_t>(widths[slot])});
      expected = expected * rescale_factor(key_deviation(expected, repeats),
                                           target[static_cast<std::int64_t>(slot)].item<double>());
      EXPECT_TRUE(at::equal(key(keys), expected)) << slot << " " << repeats;
      EXPECT_TRUE(at::equal(same[slot].view({-1}), expected)) << slot << " " << repeats;
      // The control: another step draws others. One number is left with its sign alone.
      if (widths[slot] > 1) {
        EXPECT_FALSE(at::equal(key(others), expected)) << slot;
      }
    }
  }
}

TEST_F(DrawsOnHost, RunsEveryKernel) {
  at::manual_seed(3);
  const at::Tensor alphas =
      call_cuda<signature::DrawAlphas>("spankey::draw_alphas", samples(3), position_,
                                       static_cast<std::int64_t>(AlphaLaw::sphere), 4, 1, 7, number(Purpose::alpha));
  const at::Tensor std = deviations(alphas, slot_grams({make_gram(at::randn({4, 9}))}, at::kCPU), false);
  call_cuda<signature::ScaleAlphas>("spankey::scale_alphas", alphas, std, 0.5, 0, 3);
  call_cuda<signature::DrawBelow>("spankey::draw_below", samples(3), position_, 5, 7, 4);
  call_cuda<signature::DrawWrongKeys>("spankey::draw_wrong_keys", position_, std::vector<std::int64_t>{0, 16},
                                      std::vector<std::int64_t>{9}, at::ones({1}, at::kDouble), 1, 7, 4);
  EXPECT_EQ(no_kernel_left("draw_cuda.cu"), "");
}

}  // namespace
}  // namespace spankey::draws_test
