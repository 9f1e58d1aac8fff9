// What holds the ranks of a run together, with ranks as threads; each case of disagreement is the negative control of
// the others.
#include "train/coordinator.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <torch/utils.h>

#include <thread>

#include "base/file.h"
#include "dist/backend.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"
#include "support/thread_communicator.h"
#include "train/basis_file.h"
#include "train/experiment.h"

namespace spankey::coordinator_test {
namespace {

constexpr int ranks = 3;

struct Rank {
  Experiment experiment;
  Basis basis;
  Cursor cursor{.epoch = 1, .step = 2, .global_step = 34};
};

Rank make_rank(const std::vector<std::string>& overrides = {}) {
  auto experiment = make_experiment(parse_config("", "test", overrides));
  auto basis = make_basis(experiment.config.key, experiment.key_dims, 42);
  return {std::move(experiment), std::move(basis)};
}

using Audit = void (Coordinator::*)(const Basis&, const Cursor&);

// Runs an audit on all ranks and returns each one's error ("passed" where it did).
std::vector<std::string> audit(std::vector<Rank>& all, Audit way) {
  auto communicators = make_thread_communicators(ranks);
  std::vector<std::string> errors(ranks, "passed");
  std::vector<std::thread> threads;
  for (std::size_t r = 0; r < ranks; ++r)
    threads.emplace_back([&, r] {
      try {
        (Coordinator(all[r].experiment, *communicators[r]).*way)(all[r].basis, all[r].cursor);
      } catch (const AgreedError& error) {
        errors[r] = error.what();
      }
    });
  for (auto& thread : threads) thread.join();
  return errors;
}

void expect_disagreement(std::vector<Rank>& all, const std::string& thing, Audit way = &Coordinator::audit) {
  const auto errors = audit(all, way);
  EXPECT_THAT(errors[0], testing::AllOf(testing::HasSubstr(thing), testing::HasSubstr("rank 2 has"),
                                        testing::Not(testing::HasSubstr("rank 1"))));
  for (const std::size_t other : {1, 2}) EXPECT_EQ(errors[other], "") << "rank 0 speaks for all";
}

std::vector<Rank> equal_ranks() {
  std::vector<Rank> all;
  for (int r = 0; r < ranks; ++r) all.push_back(make_rank());
  return all;
}

TEST(Coordinator, EqualRanksPass) {
  auto all = equal_ranks();
  for (const auto way : {&Coordinator::audit, &Coordinator::audit_by_checksum})
    for (const auto& error : audit(all, way)) EXPECT_EQ(error, "passed");
}

TEST(Coordinator, AnotherSeedIsFound) {
  auto all = equal_ranks();
  all[2] = make_rank({"run.seed=43"});
  expect_disagreement(all, "the configuration");
}

// Not in the hash, but ranks that cut the gradients differently would sum what does not belong together.
TEST(Coordinator, AnotherSizeOfBucketsIsFound) {
  auto all = equal_ranks();
  all[2] = make_rank({"dist.bucket_bytes=4096"});
  expect_disagreement(all, "the configuration");
}

TEST(Coordinator, AnotherBasisIsFound) {
  auto all = equal_ranks();
  all[2].basis = make_basis(all[2].experiment.config.key, all[2].experiment.key_dims, 43);
  expect_disagreement(all, "the key basis");
}

TEST(Coordinator, AnotherCursorIsFound) {
  auto all = equal_ranks();
  all[2].cursor.step += 1;
  expect_disagreement(all, "the cursor");
}

TEST(Coordinator, OneFlippedWeightBitIsFound) {
  auto all = equal_ranks();
  const torch::NoGradGuard no_grad;
  auto weight = all[2].experiment.model->parameters()[0];
  auto* bits = reinterpret_cast<std::uint32_t*>(weight.mutable_data_ptr<float>());
  bits[7] ^= 1U;
  for (const auto way : {&Coordinator::audit, &Coordinator::audit_by_checksum})
    expect_disagreement(all, "the weights", way);
  bits[7] ^= 1U;  // the control: back again
  for (const auto way : {&Coordinator::audit, &Coordinator::audit_by_checksum})
    for (const auto& error : audit(all, way)) EXPECT_EQ(error, "passed");
}

TEST(Coordinator, BetweenStartAndEndBasisAndCursorAreHeldToAsWell) {
  auto all = equal_ranks();
  auto* bits = reinterpret_cast<std::uint32_t*>(all[2].basis.layers.back().mutable_data_ptr<float>());
  bits[3] ^= 1U;
  expect_disagreement(all, "the key basis", &Coordinator::audit_by_checksum);
  bits[3] ^= 1U;
  all[2].cursor.global_step += 1;
  expect_disagreement(all, "the cursor", &Coordinator::audit_by_checksum);
}

TEST(Coordinator, AllRanksGetTheBasisOfRank0) {
  const test::TemporaryFolder folder;
  const RunDirectory directory{folder.path()};
  directory.create();
  auto all = equal_ranks();
  auto communicators = make_thread_communicators(ranks);
  std::vector<std::thread> threads;
  for (std::size_t r = 0; r < ranks; ++r) {
    all[r].experiment.config.key.private_ = true;
    threads.emplace_back([&, r] {
      all[r].basis =
          Coordinator(all[r].experiment, *communicators[r]).obtain_basis(directory, "", /*check_origin=*/true);
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(basis_digest(all[0].basis), basis_digest(all[1].basis));
  EXPECT_EQ(basis_digest(all[0].basis), basis_digest(all[2].basis));
  EXPECT_EQ(basis_digest(load_basis(directory.basis(), all[0].experiment.config.key.m, all[0].experiment.key_dims)),
            basis_digest(all[0].basis));
  struct stat status {};
  ASSERT_EQ(stat(directory.basis().c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777U, 0600U);
}

Basis obtain_alone(const Experiment& experiment, const RunDirectory& directory, const std::string& expected) {
  auto communicator = make_communicator(Backend::self, 30);
  return Coordinator(experiment, *communicator).obtain_basis(directory, expected, /*check_origin=*/expected.empty());
}

TEST(Basis, IsAFunctionOfKeySeedUnlessPrivate) {
  const auto basis_of = [](const std::vector<std::string>& overrides) {
    const test::TemporaryFolder folder;
    const RunDirectory directory{folder.path()};
    directory.create();
    return to_hex(basis_digest(obtain_alone(make_rank(overrides).experiment, directory, "")));
  };
  EXPECT_EQ(basis_of({"key.seed=5"}), basis_of({"key.seed=5", "run.seed=1"}));
  EXPECT_NE(basis_of({"key.seed=5"}), basis_of({"key.seed=6"}));
  EXPECT_NE(basis_of({"run.seed=1"}), basis_of({"run.seed=2"}));
  EXPECT_NE(basis_of({"key.private=true"}), basis_of({"key.private=true"}));
}

TEST(Basis, AnotherThanTheCheckpointsIsRefusedAndAMissingPrivateOneToo) {
  const test::TemporaryFolder folder;
  const RunDirectory directory{folder.path()};
  directory.create();
  auto rank = make_rank({"key.private=true"});
  const auto digest = to_hex(basis_digest(obtain_alone(rank.experiment, directory, "")));
  EXPECT_NO_THROW(obtain_alone(rank.experiment, directory, digest));
  EXPECT_ERROR(obtain_alone(rank.experiment, directory, std::string(64, '0')), ExitCode::bad_input,
               testing::HasSubstr("basis.h5"));
  std::filesystem::remove(directory.basis());
  EXPECT_ERROR(obtain_alone(rank.experiment, directory, digest), ExitCode::bad_input,
               testing::HasSubstr("cannot be made again"));
}

}  // namespace
}  // namespace spankey::coordinator_test
