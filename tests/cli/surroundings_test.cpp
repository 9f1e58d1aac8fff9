// What surrounds the program: signals of batch systems, standard streams, limits and file systems with peculiarities.
#include <gmock/gmock.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <fstream>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include "base/file.h"
#include "small_run.h"

namespace spankey::test::surroundings_test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

const std::vector<std::string> endless{"train.epochs=100000", "eval.every_epochs=0"};

class Surroundings : public SmallRun {
 protected:
  // In bash, where $SPANKEY is the program.
  Outcome shell(const std::string& script) const {
    return run({"env", "SPANKEY=" + program(), "bash", "-c", script}, folder.path());
  }

  std::vector<std::string> with(std::vector<std::string> in_front, const std::vector<std::string>& command) const {
    in_front.insert(in_front.end(), command.begin(), command.end());
    return in_front;
  }

  Outcome with_fault(const std::string& call, int error, const std::vector<std::string>& command) const {
    return run(with({"env", std::string("LD_PRELOAD=") + SPANKEY_ODD_MACHINE_LIBRARY,
                     "SPANKEY_TEST_FAULT=" + call + ":" + std::to_string(error)},
                    command),
               folder.path());
  }

  static long lines(const std::string& text) { return std::count(text.begin(), text.end(), '\n'); }
};

TEST_F(Surroundings, SignalsOfBatchSystemsStopWithACheckpoint) {
  for (const int signal : {SIGUSR1, SIGXCPU, SIGHUP}) {
    const auto name = "signal-" + std::to_string(signal);
    Child child(with({"env", "--default-signal=HUP"}, train(1, name, endless)), folder.path());
    wait_for_step(child, name, 1);
    child.signal(signal);
    const auto outcome = child.wait();
    EXPECT_EQ(outcome.exit_code, 75) << signal << outcome.err;
    EXPECT_FALSE(std::filesystem::exists(folder / (name + "/lease"))) << signal;
  }
}

TEST_F(Surroundings, UnderNohupAHangupChangesNothing) {
  Child child(with({"env", "--ignore-signal=HUP"}, train(1, "run", endless)), folder.path());
  wait_for_step(child, "run", 1);
  child.signal(SIGHUP);
  wait_for_step(child, "run", newest_step("run") + 30);
  ASSERT_TRUE(child.running());
  child.signal(SIGTERM);
  EXPECT_EQ(child.wait().exit_code, 75);
}

// Descriptor 4 writes to a FIFO that has no reader any more.
TEST_F(Surroundings, AReaderThatGoesAwayEndsNothing) {
  const auto outcome = shell("mkfifo pipe; exec 3<>pipe 4>pipe 3>&-; \"$SPANKEY\" train small.toml --run-dir run >&4");
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_EQ(result("run")["epochs"], 8);
  EXPECT_THAT(read_text(folder / "run/log/rank0.log"), HasSubstr("nobody reads standard output any more"));
  EXPECT_THAT(outcome.err, Not(HasSubstr("nobody reads")));
  EXPECT_EQ(shell("exec 3<>pipe 4>pipe 3>&-; \"$SPANKEY\" eval run --json >&4").exit_code, 0);
}

TEST_F(Surroundings, OutputThatCannotBeWrittenIsAnError) {
  for (const char* command : {"config small.toml", "--help", "--version", "train --help", "data info builtin:glyphs",
                              "train small.toml --run-dir run", "eval run --json", "train small.toml --run-dir run"}) {
    const auto outcome = shell(std::string("\"$SPANKEY\" ") + command + " > /dev/full");
    EXPECT_EQ(outcome.exit_code, 3) << command;
    EXPECT_THAT(outcome.err, HasSubstr("standard output could not be written: No space left on device")) << command;
  }
  EXPECT_EQ(result("run")["epochs"], 8);  // the work is not lost for it
  EXPECT_EQ(shell("\"$SPANKEY\" config nothing.toml 2> /dev/full").exit_code, 2);
}

// A file that is opened gets the number of a closed stream, and what is printed.
TEST_F(Surroundings, ClosedStreamsEndUpInNoFile) {
  expect_success(train(1, "undisturbed"));
  const auto outcome = shell("\"$SPANKEY\" train small.toml --run-dir run <&- >&- 2>&-");
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_EQ(tensors("run"), tensors("undisturbed"));
  EXPECT_EQ(metrics("run"), metrics("undisturbed"));
  EXPECT_EQ(read_text(folder / "run/config.toml"), read_text(folder / "undisturbed/config.toml"));
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder / "run")) {
    if (entry.is_regular_file()) {
      EXPECT_THAT(read_text(entry.path()), Not(HasSubstr("samples/s"))) << entry.path();
    }
  }
}

TEST_F(Surroundings, AFileSizeLimitIsTold) {
  const auto outcome = shell("ulimit -f 100; \"$SPANKEY\" train small.toml --run-dir run");
  EXPECT_EQ(outcome.exit_code, 3);
  EXPECT_THAT(outcome.err, AllOf(HasSubstr("run/checkpoints/step_0"), HasSubstr("File too large")));
}

TEST_F(Surroundings, MemoryThatIsNotThereIsOneLine) {
  const auto outcome =
      shell("ulimit -v 16000000; \"$SPANKEY\" data render glyphs --train 100000000 --test 10 --out large.h5");
  EXPECT_EQ(outcome.exit_code, 3);
  EXPECT_EQ(lines(outcome.err), 1) << outcome.err;
  EXPECT_THAT(outcome.err, AllOf(HasSubstr("not enough memory"), HasSubstr("15625 MiB (ulimit -v)"),
                                 HasSubstr("eval.keys"), Not(HasSubstr("frame #"))));
}

// Whatever the machine is short of, it is worth another attempt: 3; what was named wrongly is not: 2.
TEST_F(Surroundings, TheMachinesFaultsAreNotTheUsers) {
  for (const int error : {ENOSPC, EDQUOT, EIO, ESTALE}) {
    const auto outcome = with_fault("mkdir", error, train(1, "run"));
    EXPECT_EQ(outcome.exit_code, 3) << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr("cannot create folder run")) << error;
  }
  for (const int error : {EACCES, ENAMETOOLONG}) EXPECT_EQ(with_fault("mkdir", error, train(1, "run")).exit_code, 2);
}

TEST_F(Surroundings, AFileSystemWithoutFsyncIsToldOnce) {
  for (const auto& [call, error] :
       {std::pair{"fsync_folder", EINVAL}, {"fsync_folder", ENOTSUP}, {"fsync_file", EINVAL}}) {
    std::filesystem::remove_all(folder / "run");
    const auto outcome = with_fault(call, error, train(1, "run", {"train.epochs=1"}));
    EXPECT_EQ(outcome.exit_code, 0) << call << outcome.err;
    const auto told = outcome.err.find("the file system has no fsync");
    ASSERT_NE(told, std::string::npos) << outcome.err;
    EXPECT_EQ(outcome.err.find("the file system has no fsync", told + 1), std::string::npos) << outcome.err;
  }
  std::filesystem::remove_all(folder / "run");
  EXPECT_EQ(with_fault("fsync_folder", EIO, train(1, "run")).exit_code, 3);
}

TEST_F(Surroundings, AFileSystemOfUnknownSizeIsNotFull) {
  const auto outcome = with_fault("statvfs", 0, train(1, "run", {"train.epochs=1"}));
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
}

TEST_F(Surroundings, OutputGoesThroughALinkAndOverNothingElse) {
  std::filesystem::create_directory(folder / "disk");
  std::filesystem::create_symlink("disk/real.h5", folder / "link.h5");
  const auto render = [&](const std::string& out) {
    return run({program(), "data", "render", "glyphs", "--train", "10", "--test", "10", "--out", out}, folder.path());
  };
  EXPECT_EQ(render("link.h5").exit_code, 0);
  EXPECT_TRUE(std::filesystem::is_symlink(folder / "link.h5"));
  EXPECT_TRUE(std::filesystem::is_regular_file(folder / "disk/real.h5"));
  // Never what /dev holds: a program that is wrong would replace it for the whole machine.
  ASSERT_EQ(mkfifo((folder / "fifo").c_str(), 0600), 0);
  std::filesystem::create_symlink("/proc/self/fd/1", folder / "stdout");
  for (const char* out : {"disk", "fifo", "stdout"}) {
    const auto outcome = render(out);
    EXPECT_EQ(outcome.exit_code, 2) << out;
    EXPECT_THAT(outcome.err, HasSubstr(out));
    EXPECT_EQ(lines(outcome.err), 1) << outcome.err;
  }
  EXPECT_TRUE(std::filesystem::is_fifo(folder / "fifo"));
}

}  // namespace
}  // namespace spankey::test::surroundings_test
