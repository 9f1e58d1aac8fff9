#include "train/checkpoint.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <random>
#include <stdexcept>

#include "base/file.h"
#include "base/hdf5_file.h"
#include "config/config.h"
#include "faults/budget.h"
#include "record/run_directory.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"
#include "train/checkpoint_writer.h"

namespace spankey::checkpoint_test {
namespace {

Checkpoint example(std::int64_t global_step) {
  return {.cursor = {.epoch = 3, .step = 17, .global_step = global_step},
          .config_toml = "[run]\nseed = 7\n",
          .config_hash = "abc",
          .basis_digest = "def",
          .data_digest = "012",
          .program = "test",
          .computed_on = "2 ranks of 1 thread, cpu",
          .train_seconds = 1.5,
          .parameters = {{"fc.bias", at::arange(3, at::kFloat)}, {"fc.weight", at::arange(6, at::kFloat).view({2, 3})}},
          .buffers = {{"bn.num_batches_tracked", at::full({}, 5, at::kLong)}},
          .optimizer = {{"exp_avg/fc.bias", at::full({3}, 0.25, at::kFloat)},
                        {"exp_avg_sq/fc.bias", at::full({3}, 0.5, at::kFloat)}}};
}

void expect_same(const std::vector<NamedTensor>& a, const std::vector<NamedTensor>& b) {
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    EXPECT_EQ(a[i].name, b[i].name);
    EXPECT_TRUE(at::equal(a[i].value, b[i].value)) << a[i].name;
    EXPECT_EQ(a[i].value.scalar_type(), b[i].value.scalar_type());
  }
}

TEST(Checkpoint, ComesBackAsItWas) {
  const auto before = example(123);
  const auto after = decode_checkpoint(encode_checkpoint(before), "memory");
  EXPECT_EQ(after.cursor, before.cursor);
  EXPECT_EQ(after.config_toml, before.config_toml);
  EXPECT_EQ(h5::File::from_image(encode_checkpoint(before), "memory").read_string("config"), before.config_toml);
  EXPECT_EQ(after.config_hash, before.config_hash);
  EXPECT_EQ(after.basis_digest, before.basis_digest);
  EXPECT_EQ(after.data_digest, before.data_digest);
  EXPECT_EQ(after.program, before.program);
  EXPECT_EQ(after.computed_on, before.computed_on);
  EXPECT_EQ(after.train_seconds, before.train_seconds);
  expect_same(after.parameters, before.parameters);
  expect_same(after.buffers, before.buffers);
  expect_same(after.optimizer, before.optimizer);
}

TEST(Checkpoint, EveryFlippedBitIsSeen) {
  const auto good = encode_checkpoint(example(1));
  std::mt19937_64 random(1);
  int seen = 0;
  constexpr int flips = 3000;
  for (int i = 0; i < flips; ++i) {
    auto bad = good;
    const auto bit = random() % (bad.size() * 8);
    bad[bit / 8] ^= std::byte(1U << (bit % 8));
    try {
      decode_checkpoint(bad, "flipped");
    } catch (const Error&) {
      ++seen;
    }
  }
  EXPECT_EQ(seen, flips);
}

// HDF5 alone does not see damage in the values: this is what the footer is for.
TEST(Checkpoint, Hdf5AloneWouldMissFlippedBits) {
  const auto good = encode_checkpoint(example(1));
  auto bad = good;
  const float needle = 5.0F;  // the last value of fc.weight
  const auto* bytes = reinterpret_cast<const std::byte*>(&needle);
  const auto found = std::search(bad.begin(), bad.end(), bytes, bytes + sizeof needle);
  ASSERT_NE(found, bad.end());
  *found ^= std::byte{1};
  EXPECT_NO_THROW(h5::File::from_image(bad, "flipped").read<float>("parameters/fc.weight"));
  EXPECT_ERROR(decode_checkpoint(bad, "flipped"), ExitCode::bad_input, testing::HasSubstr("damaged"));
}

TEST(Checkpoint, EveryTruncationIsSeen) {
  const auto good = encode_checkpoint(example(1));
  for (std::size_t size = 0; size < good.size(); size += 64)
    EXPECT_THROW(decode_checkpoint(std::span(good).first(size), "cut"), Error) << size;
}

TEST(Checkpoint, Hdf5ToolsOpenTheFile) {
  const test::TemporaryFolder folder;
  write_durably(folder / "c.h5", encode_checkpoint(example(9)));
  EXPECT_EQ(h5::File::open(folder / "c.h5").int_attribute("/", "global_step"), 9);
}

TEST(Checkpoint, TheNewestGoodOneIsFound) {
  const test::TemporaryFolder folder;
  for (const std::int64_t step : {5, 100, 20})
    write_durably(checkpoint_path(folder.path(), step), encode_checkpoint(example(step)));
  std::ofstream(folder / "step_00000200.h5.tmp") << "half written";
  auto found = newest_valid_checkpoint(folder.path());
  ASSERT_TRUE(found);
  EXPECT_EQ(found->path, checkpoint_path(folder.path(), 100));

  auto bytes = read_bytes(found->path);
  bytes[bytes.size() / 2] ^= std::byte{4};
  write_durably(found->path, bytes);
  testing::internal::CaptureStderr();
  found = newest_valid_checkpoint(folder.path());
  EXPECT_THAT(testing::internal::GetCapturedStderr(), testing::HasSubstr("step_00000100.h5"));
  ASSERT_TRUE(found);
  EXPECT_EQ(found->path, checkpoint_path(folder.path(), 20));
}

TEST(Checkpoint, StepsOfMoreDigitsSortAsNumbers) {
  const test::TemporaryFolder folder;
  for (const std::int64_t step : {99999999, 100000000})
    write_durably(checkpoint_path(folder.path(), step), encode_checkpoint(example(step)));
  EXPECT_EQ(list_checkpoints(folder.path()).front(), checkpoint_path(folder.path(), 100000000));
}

class CheckpointWriterTest : public testing::TestWithParam<bool> {};

TEST_P(CheckpointWriterTest, KeepsTheNewestAndOnlyThem) {
  const test::TemporaryFolder folder;
  {
    CheckpointWriter writer(folder.path(), 2, GetParam());
    for (std::int64_t step = 1; step <= 5; ++step) writer.save(example(step));
    writer.finish();
  }
  const auto files = list_checkpoints(folder.path());
  ASSERT_EQ(files.size(), 2U);
  EXPECT_EQ(files[0], checkpoint_path(folder.path(), 5));
  EXPECT_EQ(files[1], checkpoint_path(folder.path(), 4));
  for (const auto& file : files) EXPECT_NO_THROW(decode_checkpoint(read_bytes(file), file.string()));
}

TEST_P(CheckpointWriterTest, AFailedSaveIsReportedAndTheOldFileStays) {
  const test::TemporaryFolder folder;
  CheckpointWriter writer(folder.path(), 1, GetParam());
  writer.save(example(1));
  writer.finish();
  std::filesystem::create_directory(checkpoint_path(folder.path(), 2));  // a rename cannot replace a folder
  EXPECT_THROW(
      {
        writer.save(example(2));
        writer.finish();
      },
      Error);
  std::filesystem::remove(checkpoint_path(folder.path(), 2));
  EXPECT_NO_THROW(decode_checkpoint(read_bytes(checkpoint_path(folder.path(), 1)), "old"));
}

// The negative control of the snapshot: what is handed over must be a copy.
TEST(CheckpointWriter, WritesTheValuesOfTheSnapshot) {
  const test::TemporaryFolder folder;
  CheckpointWriter writer(folder.path(), 1, true);
  auto live = at::zeros({1 << 20});
  auto snapshot = example(1);
  snapshot.parameters = {{"w", live.clone()}};
  writer.save(std::move(snapshot));
  live.fill_(1);
  writer.finish();
  const auto path = checkpoint_path(folder.path(), 1);
  EXPECT_EQ(decode_checkpoint(read_bytes(path), "w").parameters[0].value.sum().item<double>(), 0.0);
}

INSTANTIATE_TEST_SUITE_P(Modes, CheckpointWriterTest, testing::Bool(),
                         [](const auto& instance) { return instance.param ? "Async" : "Sync"; });

std::vector<std::byte> file_of_format_1() {
  const char* source = std::getenv("SPANKEY_SOURCE_DIR");
  if (source == nullptr) throw std::runtime_error("run through ctest");
  return read_bytes(std::filesystem::path(source) / "tests/train/checkpoint_format_1.h5");
}

// Written by version 0.1.0 after an epoch of configs/paper/01_add.toml. The digest was computed from the file by h5py
// and hashlib: parameters sorted by name, each as name, 0, dtype, 0, shape, bytes.
TEST(Checkpoint, FilesOfFormat1AreStillRead) {
  const auto checkpoint = decode_checkpoint(file_of_format_1(), "checkpoint_format_1.h5");
  EXPECT_EQ(checkpoint.cursor.epoch, 1);
  EXPECT_EQ(checkpoint.cursor.global_step, 25);
  EXPECT_EQ(checkpoint.optimizer.size(), 2 * checkpoint.parameters.size());
  EXPECT_EQ(to_hex(weights_digest(checkpoint.parameters, checkpoint.buffers)),
            "234f33ed446b1feda9534b4b5603f47fbcb14ae525381956e714149814bd2348");
  EXPECT_EQ(parse_config(checkpoint.config_toml, "the checkpoint").key.m, 5);
  test::report("R18", "formats of checkpoints that are read (version 1)", HasFailure() ? 0 : 1, 1);
}

// One byte of it changed is refused. The mutant: a reader of that format that asks for no checksum takes it.
TEST(Checkpoint, AChangedFileOfFormat1IsRefused) {
  const auto good = file_of_format_1();
  const auto name = h5::File::from_image(good, "good").datasets("parameters").front();
  const auto values = [&](std::span<const std::byte> bytes) {
    return h5::File::from_image(bytes, "changed").read<float>("parameters/" + name);
  };
  const auto expected = values(good);
  std::mt19937_64 random(2);
  int refused = 0, believed = 0;
  constexpr int changes = 200;
  for (int i = 0; i < changes; ++i) {
    auto bad = good;
    // Half of them among the values that are read below.
    const auto offset = *h5::File::from_image(good, "good").offset("parameters/" + name);
    const auto at = i % 2 == 0 ? static_cast<std::size_t>(offset) + random() % (expected.size() * sizeof(float))
                               : random() % bad.size();
    bad[at] ^= std::byte{1};
    try {
      decode_checkpoint(bad, "changed");
    } catch (const Error&) {
      ++refused;
    }
    if (i % 2 == 0) believed += values(bad) != expected;
  }
  EXPECT_EQ(refused, changes);
  EXPECT_GT(believed, 0);
  test::report("R18", "files of format 1 with a changed byte that were refused", refused, changes);
  test::report_mutants("R18", "a reader of format 1 without the checksum", believed > 0, 1);
}

}  // namespace
}  // namespace spankey::checkpoint_test
