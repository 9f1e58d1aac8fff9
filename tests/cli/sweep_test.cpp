// Sweeps through the real program: local, in one MPI job and on Slurm with the same weights, killed and resumed,
// cancelled, and what a user can get wrong.
#include <fmt/format.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <map>
#include <thread>

#include "faults/budget.h"
#include "small_run.h"

namespace spankey::test::sweep_test {
namespace {

using testing::AllOf;
using testing::HasSubstr;

// Short trials whose weights are the same on any number of ranks.
constexpr const char* settings = R"([set]
"train.epochs" = 3
"eval.every_epochs" = 0
"dist.reduction" = "elastic"
"dist.shards" = 2
)";

class Sweep : public SmallRun {
 protected:
  void SetUp() override {
    SmallRun::SetUp();
    write("sweep.toml", std::string("[sweep]\nbase = \"small.toml\"\nseeds = [1, 2]\n") + settings +
                            "[axes]\n\"key.gamma\" = [0.5, 1.0]\n");
  }

  std::vector<std::string> sweep(const std::string& step, const std::string& directory,
                                 std::vector<std::string> more = {}) const {
    std::vector<std::string> command{program(), "sweep", step, "sweep.toml", "--dir", directory};
    command.insert(command.end(), more.begin(), more.end());
    return command;
  }

  nlohmann::json status(const std::string& directory) const {
    const auto outcome = run({program(), "sweep", "status", "--dir", directory, "--json"}, folder.path());
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    return nlohmann::json::parse(outcome.out, nullptr, false);
  }

  // weights_sha256 by trial.
  std::map<std::string, std::string> weights(const std::string& directory) const {
    std::map<std::string, std::string> found;
    for (const auto& trial : std::filesystem::directory_iterator(folder / (directory + "/trials"))) {
      std::ifstream file(trial.path() / "result.json");
      const auto result = nlohmann::json::parse(file, nullptr, false);
      found[trial.path().filename().string()] = result.is_object() ? result.value("weights_sha256", "") : "";
    }
    return found;
  }

  void expect_finished(const std::string& directory, int trials) const {
    const auto counts = status(directory);
    EXPECT_EQ(counts,
              (nlohmann::json{{"trials", trials}, {"done", trials}, {"running", 0}, {"failed", 0}, {"waiting", 0}}));
  }

  // Exit code 2 and exactly one line.
  void expect_refused(const std::vector<std::string>& command, const testing::Matcher<std::string>& line) const {
    const auto outcome = run(command, folder.path());
    EXPECT_EQ(outcome.exit_code, 2) << outcome.out << outcome.err;
    EXPECT_THAT(outcome.err, line);
    EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
  }
};

TEST_F(Sweep, PlanPrintsTrialsAndCostAndRunsNothing) {
  const auto outcome = run(sweep("plan", "d"), folder.path());
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, AllOf(HasSubstr("run.seed=1 key.gamma=0.5"), HasSubstr("run.seed=2 key.gamma=1.0"),
                                 HasSubstr("4 trials"), HasSubstr("rule of thumb")));
  EXPECT_FALSE(std::filesystem::exists(folder / "d"));
  const auto json = run(sweep("plan", "d", {"--json"}), folder.path());
  EXPECT_EQ(nlohmann::json::parse(json.out)["plan"].size(), 4u);
}

TEST_F(Sweep, LocalAndMpiGiveTheSameWeightsAndNoTrialRunsTwice) {
  expect_success(sweep("run", "local", {"--jobs", "2"}));
  expect_finished("local", 4);
  auto mpi = on_ranks(4, sweep("run", "mpi", {"--ranks-per-trial", "2"}));
  mpi.erase(std::find(mpi.begin(), mpi.end(), program()));  // on_ranks has put it in front once more
  expect_success(mpi);
  expect_finished("mpi", 4);
  const auto local = weights("local");
  EXPECT_EQ(local.size(), 4u);
  for (const auto& [trial, digest] : local) EXPECT_EQ(digest.size(), 64u) << trial;
  EXPECT_EQ(weights("mpi"), local);

  // Another sweep over the same store: what it shares with the first is done, the rest is not.
  write("more.toml", std::string("[sweep]\nbase = \"small.toml\"\nseeds = [1]\nstore = \"local/trials\"\n") + settings +
                         "[axes]\n\"key.gamma\" = [0.5, 0.75]\n");
  const auto outcome = run({program(), "sweep", "run", "more.toml", "--dir", "more"}, folder.path());
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, AllOf(HasSubstr("2 trials, 1 done before"), HasSubstr("key.gamma=0.75")));
  EXPECT_EQ(weights("local").size(), 5u);
  const auto again = run(sweep("run", "local"), folder.path());
  EXPECT_EQ(again.exit_code, 0);
  EXPECT_THAT(again.out, AllOf(HasSubstr("4 done before"), testing::Not(HasSubstr("done in"))));
}

TEST_F(Sweep, KilledAtAnyTimeItIsResumedToTheSameWeights) {
  expect_success(sweep("run", "undisturbed", {"--jobs", "2"}));
  int kills = 0;
  for (int attempt = 0; attempt < 4; ++attempt) {
    Child driver(sweep("resume", "killed", {"--jobs", "2"}), folder.path());
    std::this_thread::sleep_for(std::chrono::milliseconds(700 + 300 * attempt));
    if (!driver.running()) break;
    driver.signal(SIGKILL);  // the driver alone: its trials end with it
    driver.wait();
    ++kills;
  }
  EXPECT_GT(kills, 0);
  expect_success(sweep("resume", "killed", {"--jobs", "2"}));
  expect_finished("killed", 4);
  EXPECT_EQ(weights("killed"), weights("undisturbed"));
  report("R15", "kills of the driver of a sweep of the real program", kills);
}

// A trial's hash is of what is trained: names however they are spelled, and the vanilla twin without its deny loss.
TEST_F(Sweep, ATrialIsKnownByWhatItTrains) {
  write("sweep.toml", R"([sweep]
base = "small.toml"
[set]
"train.epochs" = 1
"eval.families" = ["Gaussian"]
"deny.mode" = "b"
[axes]
"train.twin" = ["none", "vanilla"]
)");
  expect_success(sweep("run", "d", {"--jobs", "2"}));
  expect_finished("d", 2);
}

// Needs a cluster that answers (SLURM_CONF) and shares the folder for temporary files with this machine.
TEST_F(Sweep, OnSlurmItGivesTheSameWeights) {
  if (run({"sinfo", "--noheader"}, folder.path(), std::chrono::seconds(10)).exit_code != 0)
    GTEST_SKIP() << "SKIPPED: no Slurm answers here (sinfo)";
  expect_success(sweep("run", "local", {"--jobs", "2"}));
  const auto script = source("launch/sweep.sbatch").string();
  for (const std::string ranks : {"1", "2"}) {
    const auto directory = "slurm" + ranks;
    expect_success(
        sweep("run", directory,
              {"--executor", "slurm", "--ranks-per-trial", ranks, "--max-running", "2", "--sbatch", script}));
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(90);
    while (status(directory)["done"] != 4 && std::chrono::steady_clock::now() < deadline)
      std::this_thread::sleep_for(std::chrono::milliseconds(500));
    expect_finished(directory, 4);
    EXPECT_EQ(weights(directory), weights("local")) << ranks << " ranks a trial";
  }
}

// Six combinations of which three are the others once more are told, not run; an axis that makes none is refused.
TEST_F(Sweep, CombinationsThatAreNoTrialsOfTheirOwnAreTold) {
  write("sweep.toml", R"([sweep]
base = "small.toml"
[axes]
"key.m" = [2, 4, 8]
"checkpoint.keep" = [1, 2]
)");
  expect_refused(sweep("plan", "d"), AllOf(HasSubstr("sweep.toml:5"), HasSubstr("axis checkpoint.keep"),
                                           HasSubstr("not part of what a trial is")));
  write("sweep.toml", R"([sweep]
base = "small.toml"
[axes]
"key.m" = [2, 4, 4]
)");
  const auto outcome = run(sweep("plan", "d"), folder.path());
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("3 combinations, 2 trials: the same settings more than once"));
  const auto json = nlohmann::json::parse(run(sweep("plan", "d", {"--json"}), folder.path()).out);
  EXPECT_EQ(json["combinations"], 3);
  EXPECT_EQ(json["merged"].size(), 1u);
}

TEST_F(Sweep, ResumeGoesOnWithThePlanOfItsFolder) {
  write("sweep.toml",
        "[sweep]\nbase = \"small.toml\"\n[set]\n\"train.epochs\" = 1\n[axes]\n\"key.m\" = [2, 4]\n"
        "[budget]\nmax_hours = 1e-9\n");
  EXPECT_EQ(run(sweep("run", "d"), folder.path()).exit_code, 75);
  // max_hours is of the plan; the files it came from are no longer needed.
  auto plan = nlohmann::json::parse(std::ifstream(folder / "d/sweep.json"));
  plan["max_hours"] = 0;
  write("d/sweep.json", plan.dump());
  for (const char* name : {"sweep.toml", "small.toml"}) std::filesystem::remove(folder / name);
  expect_success({program(), "sweep", "resume", "--dir", "d"});
  expect_finished("d", 2);
  expect_refused({program(), "sweep", "resume", "--dir", "nowhere"}, HasSubstr("no sweep was started here"));
}

// A worker asks once when its job ends, and tells its trials.
TEST_F(Sweep, SqueueIsAskedOnceForAllTrials) {
  std::filesystem::create_directory(folder / "bin");
  write("bin/squeue", "#!/bin/sh\necho asked >> " + (folder / "asked").string() + "\necho 10:00:00\n");
  std::filesystem::permissions(folder / "bin/squeue", std::filesystem::perms::owner_all);
  write("sweep.toml", "[sweep]\nbase = \"small.toml\"\n[set]\n\"train.epochs\" = 1\n[axes]\n\"key.m\" = [2, 4]\n");
  auto command = sweep("run", "d");
  const auto path = fmt::format("PATH={}:{}", (folder / "bin").string(), std::getenv("PATH"));
  for (const std::string word : {path.c_str(), "SLURM_JOB_ID=7", "SLURM_JOB_END_TIME", "-u", "/usr/bin/env"})
    command.insert(command.begin(), word);
  expect_success(command);
  expect_finished("d", 2);
  EXPECT_EQ(content("asked"), "asked\n");
}

// What the ranks say of one that was stopped names the time-out.
TEST_F(Sweep, UnderMpiTheTimeoutIsThatOfTheSweep) {
  write("sweep.toml",
        "[sweep]\nbase = \"small.toml\"\n[set]\n\"train.epochs\" = 100000\n\"dist.timeout_seconds\" = 2\n"
        "[axes]\n\"key.m\" = [2, 4]\n");
  Child job(on_ranks(2, {"sweep", "run", "sweep.toml", "--dir", "d"}), folder.path());
  while (job.running() && (!std::filesystem::exists(folder / "d/sweep.json") || status("d")["running"] != 2))
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  const auto ranks = ranks_of(job);
  ASSERT_EQ(ranks.size(), 2u);
  kill(ranks[1], SIGSTOP);
  const auto outcome = job.wait();
  EXPECT_NE(outcome.exit_code, 0);
  EXPECT_FALSE(outcome.timed_out);
  // The first rank trains: it says it in the log of its trial.
  std::string said = outcome.out + outcome.err;
  for (const auto& trial : std::filesystem::directory_iterator(folder / "d/trials"))
    said += read_text(trial.path() / "log/output.log");
  EXPECT_THAT(said, HasSubstr("dist.timeout_seconds = 2"));
}

// Root may write anywhere, so the disk has to be read-only itself.
TEST_F(Sweep, AStoreOnAReadOnlyDiskIsOneSentence) {
  expect_success(sweep("run", "d"));
  const auto on_read_only = [&](const std::string& words) {
    const std::string script =
        "mount --bind . /mnt && mount -o remount,ro,bind /mnt && cd /mnt && ! touch x 2>/dev/null && exec \"$0\" " +
        words;
    return run({"unshare", "-rm", "sh", "-c", script, program()}, folder.path());
  };
  const auto shown = on_read_only("sweep status --dir d");
  if (shown.exit_code != 0 && shown.err.find("spankey") == std::string::npos)
    GTEST_SKIP() << "no disk can be made read-only here: " << shown.err;
  EXPECT_THAT(shown.out, HasSubstr("4 done"));
  for (const auto& words : {"sweep run sweep.toml --dir d", "sweep run sweep.toml --dir new", "sweep resume --dir d",
                            "sweep cancel --dir d", "report d"}) {
    const auto outcome = on_read_only(words);
    EXPECT_EQ(outcome.exit_code, 3) << words << outcome.err;
    EXPECT_THAT(outcome.err, AllOf(HasSubstr("Read-only file system"), testing::Not(HasSubstr("filesystem error"))))
        << words;
    EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
  }
}

TEST_F(Sweep, CancelAndCtrlCStopWithCheckpoints) {
  Child driver(sweep("run", "d"), folder.path());
  while (driver.running() && !std::filesystem::exists(folder / "d/sweep.json"))
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  while (driver.running() && status("d")["running"] != 1) std::this_thread::sleep_for(std::chrono::milliseconds(20));
  expect_success({program(), "sweep", "cancel", "--dir", "d"});
  EXPECT_EQ(driver.wait().exit_code, 75);
  EXPECT_EQ(status("d")["running"], 0);
  EXPECT_EQ(status("d")["failed"], 0);

  Child second(sweep("resume", "d"), folder.path());
  while (second.running() && status("d")["running"] != 1) std::this_thread::sleep_for(std::chrono::milliseconds(20));
  second.signal(SIGINT);
  std::this_thread::sleep_for(std::chrono::milliseconds(150));  // longer than the driver naps: it sees both
  second.signal(SIGINT);                                        // the same request, as when Slurm and its script signal
  const auto stopped = second.wait();
  EXPECT_EQ(stopped.exit_code, 75);
  EXPECT_THAT(stopped.out + stopped.err, testing::Not(HasSubstr("at once")));
  expect_success(sweep("resume", "d", {"--jobs", "2"}));
  expect_finished("d", 4);
}

TEST_F(Sweep, AFailedTrialIsListedWithItsLogAndStopsNoOther) {
  write("sweep.toml", R"([sweep]
base = "small.toml"
[set]
"train.epochs" = 1
[axes]
"optim.lr" = [1e-3, 1e30]
"run.seed" = [42, 43]
)");
  for (const auto& outcome : {run(sweep("run", "local", {"--jobs", "2"}), folder.path()),
                              run(on_ranks(2, {"sweep", "run", "sweep.toml", "--dir", "mpi"}), folder.path())}) {
    EXPECT_EQ(outcome.exit_code, 3) << outcome.out << outcome.err;
  }
  for (const char* directory : {"local", "mpi"}) {
    const auto counts = status(directory);
    EXPECT_EQ(counts["done"], 2) << directory;
    EXPECT_EQ(counts["failed"], 2) << directory;
    const auto text = run({program(), "sweep", "status", "--dir", directory}, folder.path()).out;
    EXPECT_THAT(text, AllOf(HasSubstr("not finite"), HasSubstr("optim.lr"), HasSubstr("output.log"))) << directory;
  }
  report("R16", "failed trials that stopped no other, listed with their logs", HasFailure() ? 0 : 4, 4);
}

TEST_F(Sweep, ADamagedLedgerEntryIsRedoneAndKeptAside) {
  expect_success(sweep("run", "d", {"--jobs", "2"}));
  const auto before = weights("d");
  const auto trial = folder / ("d/trials/" + before.begin()->first);
  std::ofstream(trial / "sweep" / "state.json") << "{\"state\": \"do";
  std::filesystem::remove(trial / "result.json");
  EXPECT_EQ(status("d")["waiting"], 1);
  const auto outcome = run(sweep("resume", "d"), folder.path());
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.err, AllOf(HasSubstr("state.json"), HasSubstr("damaged")));
  EXPECT_TRUE(std::filesystem::exists(trial / "sweep" / "state.json.damaged"));
  expect_finished("d", 4);
  EXPECT_EQ(weights("d"), before);
}

TEST_F(Sweep, MistakesAreOneLine) {
  expect_refused({program(), "sweep", "run", "absent.toml"}, HasSubstr("absent.toml"));
  expect_refused({program(), "sweep", "status"}, HasSubstr("--dir"));
  expect_refused({program(), "sweep", "resume"}, HasSubstr("--dir"));
  expect_refused({program(), "sweep", "status", "--dir", "nowhere"}, HasSubstr("nowhere"));
  write("sweep.toml", "[sweep]\nbase = \"small.toml\"\n[axes]\n\"key.gama\" = [1.0]\n");
  expect_refused(sweep("run", "d"), AllOf(HasSubstr("sweep.toml:4"), HasSubstr("'key.gamma'")));
  write("sweep.toml", "[sweep]\nbase = \"small.toml\"\n[axes]\n\"key.m\" = []\n");
  expect_refused(sweep("run", "d"), HasSubstr("at least one value"));
  write("sweep.toml", "[sweep]\nbase = \"small.toml\"\n[axes]\n\"key.m\" = [1]\n[[exclude]]\n\"key.m\" = 1\n");
  expect_refused(sweep("run", "d"), HasSubstr("no trial is left"));
  write("sweep.toml", "[sweep]\nbase = \"small.toml\"\n[axes]\n\"deny.mode\" = [\"none\", \"Q\"]\n");
  expect_refused(sweep("run", "d"), AllOf(HasSubstr("sweep.toml:4"), HasSubstr("deny.mode")));
  write("sweep.toml", "[sweep]\nbase = \"small.toml\"\n[axes]\n\"key.m\" = [1]\n[[linked]]\n\"key.m\" = [2]\n");
  expect_refused(sweep("plan", "d"), HasSubstr("one axis a key"));
  write("sweep.toml",
        "[sweep]\nbase = \"small.toml\"\n[axes]\n\"run.seed\" = {from = 1, to = 100001, steps = 100001}\n");
  expect_refused(sweep("run", "d"), AllOf(HasSubstr("100001 trials"), HasSubstr("--yes")));
  expect_refused(sweep("run", "d", {"--", "--time=1"}), HasSubstr("accepted: with --executor slurm"));
  expect_refused(sweep("run", "d", {"other.toml"}), HasSubstr("other.toml: accepted: table.key=value"));
  for (const char* executor : {"local", "slurm"}) {
    auto command = sweep("run", "d", {"--executor", executor});
    command.insert(command.begin(), "OMPI_COMM_WORLD_SIZE=2");
    command.insert(command.begin(), "/usr/bin/env");
    expect_refused(command, HasSubstr(fmt::format("--executor {}: started by mpirun", executor)));
  }
  EXPECT_FALSE(std::filesystem::exists(folder / "d"));
}

// Training and attack are one trial, whichever executor runs it; a stop in between loses nothing, and the report ranks
// what came out.
TEST_F(Sweep, AnAttackIsAPartOfEveryTrial) {
  const auto file = [](const std::string& attack) {
    return std::string("[sweep]\nbase = \"small.toml\"\n") + settings + "[axes]\n\"deny.mode\" = [\"B\", \"C\"]\n" +
           "[attack]\n" + attack;
  };
  write("sweep.toml", file("attacks = [\"O1\", \"O2a\", \"K5\", \"S0\"]\nimages = [10]\nseeds = 1\n"));
  const auto plan = run(sweep("plan", "local"), folder.path());
  EXPECT_THAT(plan.out, HasSubstr("attacked after its training: --preset quick --attacks O1,O2a,K5,S0 --images 10"));
  expect_success(sweep("run", "local", {"--jobs", "2"}));
  expect_finished("local", 2);
  auto mpi = on_ranks(2, sweep("run", "mpi"));
  mpi.erase(std::find(mpi.begin(), mpi.end(), program()));
  expect_success(mpi);
  expect_finished("mpi", 2);
  const auto rows = [&](const std::filesystem::path& trial) {
    std::ifstream attack(trial / "attack/attack.json");
    auto json = nlohmann::json::parse(attack);
    for (auto& row : json.at("rows")) row.at("cost").erase("seconds");
    return json.at("rows");
  };
  for (const auto& trial : std::filesystem::directory_iterator(folder / "local/trials"))
    EXPECT_EQ(rows(trial.path()), rows(folder / "mpi/trials" / trial.path().filename()));
  // What was done stays done, and is shown.
  EXPECT_THAT(run(sweep("run", "local"), folder.path()).out, HasSubstr("2 done before"));
  expect_success({program(), "report", "local", "--out", "report"});
  EXPECT_THAT(content("report/report.md"),
              AllOf(HasSubstr("## Attacks"), HasSubstr("from 2 of 2 groups"), HasSubstr("price of entry"),
                    testing::Not(HasSubstr("training from scratch."))));
}

TEST_F(Sweep, AWrongAttackIsRefusedBeforeAnythingRuns) {
  for (const auto& [attack, sentence] :
       {std::pair("preset = \"quik\"", "did you mean 'quick'"), std::pair("attacks = [\"K55\"]", "did you mean 'K5'"),
        std::pair("image = [1]", "did you mean 'images'"), std::pair("attacks = [\"O1\", \"o1\"]", "O1 is named twice"),
        std::pair("images = [10, 10]", "10 is named twice"),
        std::pair("images = [5000]", "the training split has 4096"),
        std::pair("seeds = 1001", "accepted: 1 to 1000")}) {
    write("sweep.toml", std::string("[sweep]\nbase = \"small.toml\"\n[attack]\n") + attack + "\n");
    expect_refused(sweep("run", "d"), AllOf(HasSubstr("sweep.toml:"), HasSubstr(sentence)));
  }
}

}  // namespace
}  // namespace spankey::test::sweep_test
