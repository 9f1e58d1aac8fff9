#include "data/loader.h"

#include "data/make_data.h"
#include "support/expect_error.h"

namespace spankey::loader_test {
namespace {

using testing::HasSubstr;

constexpr std::int64_t samples = 47, global_batch = 10;

std::unique_ptr<Loader> make_loader(const std::shared_ptr<const Dataset>& data, bool prefetch, std::int64_t shards = 1,
                                    std::int64_t first = 0, std::int64_t count = 1, std::uint64_t seed = 42,
                                    std::int64_t sampled = samples) {
  return std::make_unique<Loader>(data, Sampler(sampled, global_batch, /*drop_last=*/false, seed),
                                  Assembler(*data, data->train(), Augment::affine, seed, Purpose::augment), shards,
                                  first, count, prefetch);
}

std::shared_ptr<const Dataset> make_data() {
  return test::make_image_data(samples, 1, {1, 12, 12});
}

void expect_same(const Batch& a, const Batch& b) {
  EXPECT_EQ(a.samples, b.samples);
  EXPECT_EQ(a.range.begin, b.range.begin);
  EXPECT_EQ(a.range.end, b.range.end);
  EXPECT_TRUE(at::equal(a.x, b.x));
  EXPECT_TRUE(at::equal(a.labels, b.labels));
}

TEST(Loader, PrefetchingChangesNothing) {
  const auto data = make_data();
  const auto plain = make_loader(data, false), ahead = make_loader(data, true);
  for (std::int64_t epoch = 0; epoch < 3; ++epoch) {
    for (std::int64_t step = 0; step < 5; ++step) expect_same(plain->load(epoch, step), ahead->load(epoch, step));
  }
  // Out of order, as after a resume; twice the same; and on from there.
  for (const auto& [epoch, step] : std::vector<std::pair<int, int>>{{7, 3}, {7, 3}, {0, 0}, {0, 4}, {1, 0}, {1, 1}}) {
    expect_same(plain->load(epoch, step), ahead->load(epoch, step));
  }
  // Negative control: another seed is another batch.
  const auto other = make_loader(data, true, 1, 0, 1, 43);
  EXPECT_FALSE(at::equal(other->load(0, 0).x, plain->load(0, 0).x));
}

TEST(Loader, ABatchIsTheCallersToChange) {
  const auto data = make_data();
  const auto loader = make_loader(data, true);
  const Batch first = loader->load(0, 0);
  const at::Tensor copy = first.x.clone();
  loader->load(0, 1);
  loader->load(0, 2);
  EXPECT_TRUE(at::equal(first.x, copy));
}

TEST(Loader, RanksTogetherHaveTheWholeBatch) {
  const auto data = make_data();
  const auto whole = make_loader(data, false);
  for (const bool prefetch : {false, true}) {
    for (const std::int64_t ranks : {2, 3, 4}) {
      std::vector<std::unique_ptr<Loader>> loaders;
      for (std::int64_t rank = 0; rank < ranks; ++rank)
        loaders.push_back(make_loader(data, prefetch, 12, 12 / ranks * rank, 12 / ranks));
      for (std::int64_t step = 0; step < 5; ++step) {
        const Batch all = whole->load(1, step);
        std::vector<at::Tensor> x, labels;
        std::int64_t next = 0;
        for (const auto& loader : loaders) {
          const Batch part = loader->load(1, step);
          EXPECT_EQ(part.samples, all.samples);
          EXPECT_EQ(part.range.begin, next);
          EXPECT_EQ(part.x.size(0), part.range.end - part.range.begin);
          next = part.range.end;
          x.push_back(part.x);
          labels.push_back(part.labels);
        }
        EXPECT_TRUE(at::equal(at::cat(x), all.x));
        EXPECT_TRUE(at::equal(at::cat(labels), all.labels));
      }
    }
  }
}

TEST(Loader, ErrorsOfTheHelperReachTheCallOfTheirBatch) {
  const auto data = make_data();
  // The sampler names samples that the data set lacks: some batches of an epoch cannot be made.
  for (const bool prefetch : {false, true}) {
    const auto loader = make_loader(data, prefetch, 1, 0, 1, 42, samples + 3);
    int failed = 0;
    for (std::int64_t step = 0; step < 5; ++step) {
      const auto chosen = Sampler(samples + 3, global_batch, false, 42).global_batch(0, step);
      const bool broken = std::any_of(chosen.begin(), chosen.end(), [](std::int64_t s) { return s >= samples; });
      failed += broken;
      if (broken) {
        EXPECT_ERROR(loader->load(0, step), ExitCode::run_failed, HasSubstr("sample < labels_.numel()"));
      } else {
        EXPECT_NO_THROW(loader->load(0, step));
      }
    }
    EXPECT_GT(failed, 0);
    EXPECT_LT(failed, 5);
  }
}

TEST(Loader, EndsWhileTheHelperIsAtWork) {
  const auto data = make_data();
  for (int i = 0; i < 200; ++i) {
    const auto loader = make_loader(data, true);
    if (i % 2 == 0) loader->load(0, 0);
  }
}

}  // namespace
}  // namespace spankey::loader_test
