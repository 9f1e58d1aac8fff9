// Damage to a checkpoint is seen before anything is trained on it, and the newest one that is whole takes its place.
#include <gtest/gtest.h>

#include <fstream>
#include <random>

#include "base/error.h"
#include "base/file.h"
#include "base/hdf5_file.h"
#include "faults/budget.h"
#include "faults/savers.h"
#include "record/run_directory.h"
#include "support/temporary_folder.h"

namespace spankey::test::corruption_test {
namespace {

constexpr std::int64_t whole = 10000;

void write_plainly(const std::filesystem::path& path, std::span<const std::byte> bytes) {
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
}

class Corruption : public testing::Test {
 protected:
  void SetUp() override {
    write_durably(checkpoint_path(folder.path(), 10), encode_checkpoint(checkpoint_of_step(10)));
    good = encode_checkpoint(checkpoint_of_step(20));
  }

  // True where step 10 is taken instead of the newer file and the newer one is named.
  bool falls_back(std::span<const std::byte> damaged) {
    const auto newest = checkpoint_path(folder.path(), 20);
    write_plainly(newest, damaged);
    testing::internal::CaptureStderr();
    const auto step = loadable_step(folder.path());
    const auto said = testing::internal::GetCapturedStderr();
    return step == 10 && said.find(newest.string()) != std::string::npos;
  }

  TemporaryFolder folder;
  std::vector<std::byte> good;
};

TEST_F(Corruption, EveryFlippedBitIsSeenAndNamed) {
  std::mt19937_64 random(1);
  std::int64_t flips = 0, seen = 0;
  for (const Budget budget(1000, whole); budget.more(flips); ++flips) {
    auto bad = good;
    const auto bit = random() % (bad.size() * 8);
    bad[bit / 8] ^= std::byte(1U << (bit % 8));
    seen += falls_back(bad);
  }
  report("R6", "single-bit flips", flips, whole);
  report("R6", "flips not seen", flips - seen);
  EXPECT_GT(flips, 0);
  EXPECT_EQ(seen, flips);
}

TEST_F(Corruption, EveryTruncationIsSeenAndNamed) {
  std::int64_t cuts = 0;
  for (std::size_t size = 0; size < good.size(); size += 512, ++cuts)
    EXPECT_TRUE(falls_back(std::span(good).first(size))) << size;
  EXPECT_TRUE(falls_back(std::span(good).first(good.size() - 1)));
  report("R6", "truncations", cuts, cuts);
  EXPECT_GT(cuts, 10);
}

TEST_F(Corruption, GarbledSectorsAreSeenAndNamed) {
  std::mt19937_64 random(2);
  std::int64_t sectors = 0;
  for (std::size_t begin = 0; begin + 512 <= good.size(); begin += 512, ++sectors) {
    auto bad = good;
    for (std::size_t i = begin; i < begin + 512; ++i) bad[i] = static_cast<std::byte>(random());
    EXPECT_TRUE(falls_back(bad)) << begin;
  }
  report("R6", "garbled sectors", sectors, sectors);
  EXPECT_GT(sectors, 10);
}

// The footer of a file cannot know the file's name: the step inside must agree with it.
TEST_F(Corruption, AFileUnderAnothersNameIsSeen) {
  EXPECT_TRUE(falls_back(encode_checkpoint(checkpoint_of_step(15))));
  EXPECT_TRUE(falls_back(read_bytes(checkpoint_path(folder.path(), 10))));
}

// The mutants: a reader that trusts HDF5 and asks for no checksum takes other values for good; one that does not
// compare the name with the step takes the wrong file.
TEST_F(Corruption, MutantsAreCaught) {
  const auto values = [](std::span<const std::byte> bytes) {
    return h5::File::from_image(bytes, "without a checksum").read<float>("parameters/fc.weight");
  };
  const auto expected = values(good);
  std::mt19937_64 random(3);
  int silently_wrong = 0;
  for (int flip = 0; flip < 300; ++flip) {
    auto bad = good;
    const auto bit = random() % (bad.size() * 8);
    bad[bit / 8] ^= std::byte(1U << (bit % 8));
    try {
      silently_wrong += values(bad) != expected;
    } catch (const Error&) {
    }
  }
  EXPECT_GT(silently_wrong, 0);
  const auto misnamed = encode_checkpoint(checkpoint_of_step(15));
  const bool taken = decode_checkpoint(misnamed, checkpoint_path(folder.path(), 20).string()).cursor.global_step == 15;
  EXPECT_TRUE(taken);
  report_mutants("R6", "readers without the checksum, without the name", (silently_wrong > 0) + taken, 2);
}

// The control: the undamaged file is taken.
TEST_F(Corruption, TheUndamagedFileIsTaken) {
  EXPECT_FALSE(falls_back(good));
  EXPECT_EQ(loadable_step(folder.path()), 20);
}

TEST_F(Corruption, AFolderThatCannotBeListedIsNotEmpty) {
  write_plainly(folder / "file", good);
  EXPECT_THROW(newest_valid_checkpoint(folder / "file"), Error);
  EXPECT_FALSE(newest_valid_checkpoint(folder / "missing"));
}

}  // namespace
}  // namespace spankey::test::corruption_test
