// Data that change under a run: it is told, and never trains on them in silence.
#include <gmock/gmock.h>

#include <csignal>
#include <fstream>
#include <functional>

#include "base/error.h"
#include "data/dataset.h"
#include "faults/budget.h"
#include "faults/faulty_run.h"

namespace spankey::test::data_test {
namespace {

using testing::AllOf;
using testing::HasSubstr;

class Data : public FaultyRun {
 protected:
  void render(const std::string& name) const {
    expect_success({program(), "data", "render", "glyphs", "--train", "1024", "--test", "64", "--out", name});
  }

  // Other pixels, in the middle of the images.
  void write_in_place(const std::string& name) const {
    std::fstream file(folder / name, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(static_cast<std::streamoff>(std::filesystem::file_size(folder / name) / 2));
    file << std::string(4096, '\x55');
  }

  // What becomes of a run that trains while `change` happens.
  Outcome train_through(const std::string& run, const std::function<void()>& change, int signal_after = 0) const {
    Child child(train(1, run, {"data.file=" + run + ".h5", "train.epochs=1000", "eval.every_epochs=0"}), folder.path());
    wait_for_step(child, run, 3);
    change();
    const int at = newest_step(run);
    if (signal_after != 0) {
      wait_for_step(child, run, at + 20);
      child.signal(signal_after);
    }
    return child.wait(std::chrono::seconds(60));
  }
};

TEST_F(Data, ChangedUnderARunAreTold) {
  for (const char* name : {"written.h5", "cut.h5", "replaced.h5", "other.h5"}) render(name);
  const auto written = train_through("written", [&] { write_in_place("written.h5"); });
  EXPECT_EQ(written.exit_code, 3) << written.err;
  EXPECT_THAT(written.err, AllOf(HasSubstr("written.h5"), HasSubstr("changed while they were in use")));
  const auto cut = train_through("cut", [&] { std::filesystem::resize_file(folder / "cut.h5", 4096); });
  EXPECT_EQ(cut.exit_code, 3) << cut.err;
  EXPECT_THAT(cut.err, AllOf(HasSubstr("cut.h5"), HasSubstr("cut short")));
  const auto replaced = train_through(
      "replaced", [&] { std::filesystem::rename(folder / "other.h5", folder / "replaced.h5"); }, SIGUSR2);
  EXPECT_EQ(replaced.exit_code, 75) << replaced.err;
  EXPECT_THAT(replaced.err, AllOf(HasSubstr("replaced.h5"), HasSubstr("another file has taken this name")));
  const int told = (written.exit_code == 3) + (cut.exit_code == 3) + (replaced.exit_code == 75);
  report("R23", "data written to, cut short and replaced under a run that said so", told, 3);
}

// The mutant: a run that trusts its data after the first look. What it trains on is not what it looked at.
TEST_F(Data, ThatAreTrustedAreOthers) {
  render("data.h5");
  const auto dataset = Dataset::open((folder / "data.h5").string(), Verify::always);
  const auto images = dataset->train().images;
  const std::vector<std::uint8_t> before(images.begin(), images.end());
  EXPECT_NO_THROW(dataset->require_unchanged());
  write_in_place("data.h5");
  const bool others = !std::equal(images.begin(), images.end(), before.begin());
  EXPECT_TRUE(others);
  bool seen = false;
  try {
    dataset->require_unchanged();
  } catch (const Error&) {
    seen = true;
  }
  EXPECT_TRUE(seen);
  report_mutants("R23", "a run that trusts its data after the first look", others && seen, 1);
}

}  // namespace
}  // namespace spankey::test::data_test
