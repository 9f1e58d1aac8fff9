// The program's front: what needs no LibTorch does not load it, and says what the rest of the program says.
#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>

#include "small_run.h"

namespace spankey::test::front_test {
namespace {

using testing::HasSubstr;
using testing::Not;

class Front : public SmallRun {
 protected:
  Outcome spankey(std::vector<std::string> arguments, const std::string& name = program()) const {
    arguments.insert(arguments.begin(), name);
    return run(arguments, folder.path());
  }
  // A sweep of one trial that nobody has begun, as `sweep run` leaves it.
  void plan_sweep() const {
    std::filesystem::create_directory(folder / "sweep");
    std::ofstream(folder / "sweep/sweep.json")
        << R"({"name": "grid", "base": "b.toml", "base_text": "", "store": ")" << (folder / "trials").string()
        << R"(", "max_hours": 0.0, "cost_source": "a rule",
               "trials": [{"id": "0123456789abcdef", "hash": "0123456789abcdef01", "settings": [["run.seed", "1"]],
                           "label": "run.seed=1", "seconds": 2.0}]})";
  }
  // What the loader of shared libraries says of itself.
  std::string loads(std::vector<std::string> arguments) const {
    arguments.insert(arguments.begin(), {"/usr/bin/env", "LD_DEBUG=libs", program()});
    return run(arguments, folder.path()).err;
  }
};

TEST_F(Front, LoadsNoLibTorchWhereNoneIsNeeded) {
  plan_sweep();
  for (const std::vector<std::string>& light : {std::vector<std::string>{"--help"},
                                                {"--version"},
                                                {"config", "small.toml"},
                                                {"config", "--help"},
                                                {"ls", "."},
                                                {"watch", "sweep"},
                                                {"watch", "--help"},
                                                {"sweep", "status", "--dir", "sweep"},
                                                {"sweep", "status", "--help"}})
    EXPECT_THAT(loads(light), Not(HasSubstr("libtorch"))) << light[0];
  EXPECT_THAT(loads({"devices"}), HasSubstr("libtorch_cpu.so"));  // the control
}

TEST_F(Front, SaysWhatTheWholeProgramSays) {
  plan_sweep();
  for (const std::vector<std::string>& words : {std::vector<std::string>{"--help"},
                                                {"-h"},
                                                {"--version"},
                                                {"config", "--help"},
                                                {"config", "--markdown"},
                                                {"config", "small.toml", "key.gamma=.25"},
                                                {"config", "small.toml", "key.gama=1"},
                                                {"config"},
                                                {"config", "small.toml", "--mark"},
                                                {"sweep", "status", "--dir", "sweep"},
                                                {"sweep", "status", "--dir", "sweep", "--json"},
                                                {"sweep", "status", "--help"},
                                                {"sweep", "status", "--dir", "nowhere"},
                                                {"sweep", "status"},
                                                {"watch", "sweep"},
                                                {"watch", "--help"},
                                                {"watch", "nowhere"},
                                                {"sweep", "--help"},
                                                {"confg"},
                                                {}}) {
    const auto front = spankey(words), core = spankey(words, program() + "_core");
    EXPECT_EQ(front.out, core.out);
    EXPECT_EQ(front.err, core.err);
    EXPECT_EQ(front.exit_code, core.exit_code);
    EXPECT_FALSE(front.out.empty() && front.err.empty());
  }
}

// Whoever copies the program alone gets the rest from where it was built.
TEST_F(Front, FindsTheRestOfTheProgram) {
  const auto alone = (folder / "spankey").string();
  std::filesystem::copy_file(program(), alone);
  const auto outcome = spankey({"devices"}, alone);
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("cpu"));
}

// Text that nobody receives is not a success.
TEST_F(Front, StandardOutputThatIsFull) {
  for (const char* words : {"--help", "config small.toml"}) {
    const auto outcome = run({"/bin/sh", "-c", "exec \"$0\" $1 > /dev/full", program(), words}, folder.path());
    EXPECT_EQ(outcome.exit_code, 3) << words;
    EXPECT_THAT(outcome.err, HasSubstr("standard output"));
  }
}

}  // namespace
}  // namespace spankey::test::front_test
