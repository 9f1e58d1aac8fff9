// Shell completion and the manual page, as shells and man read them.
#include <gmock/gmock.h>

#include <fstream>

#include "small_run.h"

namespace spankey::test::completion_test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class Completion : public SmallRun {
 protected:
  std::string printed(std::vector<std::string> words) const {
    words.insert(words.begin(), program());
    const auto outcome = run(words, folder.path());
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    return outcome.out;
  }
  // What bash offers for a line that is split into words as bash does it, the last one under the cursor.
  std::string offered(const std::string& words) const {
    std::ofstream(folder / "completion.bash") << printed({"completion", "bash"});
    const auto script =
        "source completion.bash; COMP_WORDS=(" + words +
        "); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); COMPREPLY=(); _spankey 2>/dev/null; echo \"${COMPREPLY[@]}\"";
    return run({"bash", "-uc", script}, folder.path()).out;
  }
};

TEST_F(Completion, BashOffersWhatMayFollow) {
  EXPECT_THAT(offered("spankey tr"), HasSubstr("train"));
  EXPECT_EQ(offered("spankey sweep can"), "cancel\n");
  EXPECT_THAT(offered("spankey sweep run --max"), HasSubstr("--max-running"));
  EXPECT_THAT(offered("spankey train small.toml --run"), HasSubstr("--run-dir"));
  EXPECT_EQ(offered("spankey train small.toml key.gam"), "key.gamma=\n");
  EXPECT_EQ(offered("spankey train small.toml model.name = small_r"), "small_resnet\n");
  EXPECT_THAT(offered("spankey train small.toml deny.mode ="), AllOf(HasSubstr("A_soft"), HasSubstr("BS")));
  EXPECT_EQ(offered("spankey train small.toml run.tensorboard = t"), "true\n");
  EXPECT_EQ(offered("spankey ls key.gam"), "\n");  // takes no settings
}

TEST_F(Completion, ScriptsAreAcceptedByTheirShells) {
  for (const std::string shell : {"bash", "zsh", "fish"}) {
    const auto script = folder / ("completion." + shell);
    std::ofstream(script) << printed({"completion", shell});
    const auto outcome = run({"env", shell, "-n", script.string()}, folder.path());
    if (outcome.exit_code == 127) continue;  // not installed
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  }
}

TEST_F(Completion, FishOffersFilesOnlyWhereOneMayStand) {
  std::ofstream(folder / "completion.fish") << printed({"completion", "fish"});
  write("sweep.toml", "");
  const auto offers = [&](const std::string& line) {
    return run({"env", "HOME=" + folder.path().string(), "fish", "--no-config", "-c",
                "source completion.fish; complete -C '" + line + "'"},
               folder.path());
  };
  if (offers("spankey ").exit_code == 127) GTEST_SKIP() << "fish is not installed";
  EXPECT_THAT(offers("spankey s").out, AllOf(HasSubstr("sweep\n"), Not(HasSubstr("sweep.toml"))));
  EXPECT_THAT(offers("spankey sweep ").out, AllOf(HasSubstr("resume\n"), Not(HasSubstr("sweep.toml"))));
  EXPECT_THAT(offers("spankey sweep plan s").out, HasSubstr("sweep.toml"));
  EXPECT_THAT(offers("spankey train sweep.toml key.gam").out, HasSubstr("key.gamma="));
  EXPECT_THAT(offers("spankey train sweep.toml model.name=small_r").out, HasSubstr("model.name=small_resnet"));
}

TEST_F(Completion, TheManualHasEveryCommand) {
  const auto page = printed({"manual"});
  EXPECT_THAT(page, AllOf(HasSubstr(".TH SPANKEY 1"), HasSubstr(".SS \"spankey sweep run\""),
                          HasSubstr("\nUsage: spankey sweep run "), HasSubstr("\\-\\-run\\-dir"),
                          HasSubstr("Exit codes"), Not(HasSubstr("\n.spankey"))));
  std::ofstream(folder / "spankey.1") << page;
  const auto shown =
      run({"env", "MANWIDTH=100", "LC_ALL=C.UTF-8", "man", "--warnings", "-l", "spankey.1"}, folder.path());
  if (shown.exit_code == 127) GTEST_SKIP() << "man is not installed";
  EXPECT_EQ(shown.err, "");
  EXPECT_THAT(shown.out, HasSubstr("spankey watch"));
}

TEST_F(Completion, OtherShellsAreRefused) {
  expect_refused({"completion", "tcsh"}, "SHELL");
}

// Options of the program may stand before and behind the command.
TEST_F(Completion, QuietLeavesWarningsAndResults) {
  const auto quiet = run(train(1, "quiet", {"train.epochs=1", "-q"}), folder.path());
  EXPECT_EQ(quiet.exit_code, 0) << quiet.err;
  EXPECT_THAT(quiet.out, HasSubstr("correct key"));
  EXPECT_EQ(quiet.err, "");
  const auto usual = run(train(1, "usual", {"train.epochs=1"}), folder.path());
  EXPECT_THAT(usual.err, HasSubstr("epoch"));  // the control
  EXPECT_THAT(usual.out, HasSubstr("correct key"));
}

TEST_F(Completion, AQuietSweepTellsOfFailuresAndItsEnd) {
  write("sweep.toml",
        "[sweep]\nbase = \"small.toml\"\n[set]\n\"train.epochs\" = 1\n[axes]\n\"optim.lr\" = [1e-3, 1e30]\n");
  const auto quiet = run({program(), "-q", "sweep", "run", "sweep.toml", "--dir", "quiet"}, folder.path());
  EXPECT_EQ(quiet.exit_code, 3) << quiet.err;
  EXPECT_THAT(quiet.out, AllOf(HasSubstr("FAILED with 3"), HasSubstr("1 of 2 trials done, 1 failed"),
                               Not(HasSubstr("done in")), Not(HasSubstr("running"))));
  const auto usual = run({program(), "sweep", "run", "sweep.toml", "--dir", "usual"}, folder.path());
  EXPECT_THAT(usual.out, AllOf(HasSubstr("done in"), HasSubstr("running")));  // the control
}

}  // namespace
}  // namespace spankey::test::completion_test
