// Requests to stop, in every phase of the programs that work for long.
#include <gmock/gmock.h>

#include <csignal>
#include <fstream>

#include "base/file.h"
#include "faults/budget.h"
#include "faults/faulty_run.h"

namespace spankey::test::requests_test {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

// The work that is interrupted takes minutes; a batch of it, tens of milliseconds.
constexpr seconds patience{20};
const std::vector<std::string> few{"train.epochs=2"}, long_evaluation{"train.epochs=2", "eval.keys=100000"};

class Requests : public FaultyRun {
 protected:
  // A signal that comes before the program has asked for it would end it in the kernel's way.
  static void wait_for_handler(Child& child, pid_t pid, int signal) {
    const auto file = "/proc/" + std::to_string(pid) + "/status";
    while (child.running()) {
      std::ifstream status(file);
      for (std::string line; std::getline(status, line);)
        if (line.starts_with("SigCgt:") && (std::stoull(line.substr(7), nullptr, 16) >> (signal - 1) & 1) != 0) return;
      std::this_thread::sleep_for(milliseconds(1));
    }
  }

  // `rank` of the children of mpirun; -1: the child itself.
  static Outcome ask(Child& child, int rank, int signal, milliseconds after) {
    const auto pid = [&] { return rank < 0 ? pid_t{child.pid()} : ranks_of(child).at(static_cast<std::size_t>(rank)); };
    while (rank >= 0 && child.running() && ranks_of(child).size() < 2) std::this_thread::sleep_for(milliseconds(1));
    wait_for_handler(child, pid(), signal);
    std::this_thread::sleep_for(after);
    kill(pid(), signal);
    return child.wait(patience);
  }
};

TEST_F(Requests, EvalAndDiagnoseEndAtOnceAndPrintNothingHalf) {
  expect_success(train(1, "run", few));
  const std::vector<std::string> eval{"eval", "run", "--keys", "100000"}, diagnose{"diagnose", "run", "--keys", "5000"};
  struct Case {
    std::vector<std::string> command;
    int ranks, signal, after;  // milliseconds
  };
  const Case cases[] = {{eval, 1, SIGINT, 0},     {eval, 1, SIGTERM, 1500},     {eval, 2, SIGTERM, 1500},
                        {diagnose, 1, SIGINT, 0}, {diagnose, 1, SIGTERM, 1500}, {diagnose, 2, SIGUSR2, 1500}};
  int honoured = 0;
  for (const auto& [command, ranks, signal, after] : cases) {
    Child child(on_ranks(ranks, command), folder.path());
    const auto outcome = ask(child, ranks - 2, signal, milliseconds(after));
    const auto what = command[0] + " on " + std::to_string(ranks) + ", signal " + std::to_string(signal);
    EXPECT_EQ(outcome.exit_code, 128 + signal) << what << outcome.err;
    EXPECT_FALSE(outcome.timed_out) << what;
    EXPECT_THAT(outcome.out, IsEmpty()) << what;
    EXPECT_THAT(outcome.err, HasSubstr("ended by SIG")) << what;
    EXPECT_FALSE(std::filesystem::exists(folder / "run/diagnose")) << what;
    honoured += outcome.exit_code == 128 + signal && !outcome.timed_out;
  }
  report("R20", "signals to eval and diagnose that ended them within a batch", honoured, std::size(cases));
}

// The mutant hears nothing.
TEST_F(Requests, AStopDuringTheLastEvaluationIsHeard) {
  int honoured = 0;
  for (const int ranks : {1, 2}) {
    const auto run = "run" + std::to_string(ranks);
    Child child(train(ranks, run, long_evaluation), folder.path());
    wait_for_step(child, run, 16);
    std::this_thread::sleep_for(milliseconds(500));
    kill(ranks == 1 ? child.pid() : ranks_of(child).at(1), SIGTERM);
    const auto outcome = child.wait(patience);
    EXPECT_EQ(outcome.exit_code, 75) << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr("stopped as asked in the evaluation after epoch 2"));
    EXPECT_EQ(newest_step(run), 16);
    EXPECT_FALSE(std::filesystem::exists(folder / (run + "/result.json")));
    honoured += outcome.exit_code == 75;
  }
  report("R20", "signals during the last evaluation that stopped the run with its checkpoint", honoured, 2);

  auto command = train(1, "deaf", long_evaluation);
  command.insert(command.begin(), {"env", "--block-signal=TERM"});
  Child deaf(command, folder.path());
  wait_for_step(deaf, "deaf", 16);
  deaf.signal(SIGTERM);
  const bool caught = deaf.wait(seconds(3)).timed_out;
  EXPECT_TRUE(caught);
  report_mutants("R20", "a program that hears no request", caught, 1);
}

TEST_F(Requests, AStopDuringTheRecalibrationIsHeard) {
  expect_success({program(), "data", "render", "glyphs", "--train", "64", "--test", "16", "--out", "few.h5"});
  const std::vector<std::string> words{"model.name=small_resnet", "model.batchnorm=recalibrate_ok", "data.file=few.h5",
                                       "data.limit=20",           "train.global_batch=10",          "train.epochs=1",
                                       "key.layers=[0]"};
  expect_success(train(1, "undisturbed", words));
  Child child(train(1, "run", words), folder.path());
  while (child.running() && metrics_step("run") < 2) std::this_thread::sleep_for(milliseconds(1));
  child.signal(SIGTERM);
  const auto outcome = child.wait(patience);
  EXPECT_EQ(outcome.exit_code, 75) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("in the recalibration of BatchNorm"));
  EXPECT_EQ(newest_step("run"), 2);
  expect_success(train(1, "run", words));
  EXPECT_EQ(result("run")["weights_sha256"], result("undisturbed")["weights_sha256"]);
  EXPECT_EQ(tensors("run"), tensors("undisturbed"));
  report("R20", "signals during the recalibration that stopped the run with its checkpoint", outcome.exit_code == 75,
         1);
}

// Asked for in the evaluation of an epoch, the checkpoint of this epoch is there, and the run that goes on makes up for
// the evaluation: its metrics are those of an undisturbed one.
TEST_F(Requests, TheCheckpointComesBeforeTheEvaluation) {
  const std::vector<std::string> slow{"train.epochs=3",
                                      "eval.families=[\"gaussian\",\"negated\",\"scaled\",\"permuted\",\"one_hot\"]"};
  expect_success(train(1, "undisturbed", slow));
  bool in_evaluation = false;
  for (int round = 0; round < 10 && !in_evaluation; ++round) {
    const auto run = "run" + std::to_string(round);
    Child child(train(1, run, slow), folder.path());
    wait_for_step(child, run, 8);
    child.signal(SIGTERM);
    const auto outcome = child.wait(patience);
    ASSERT_EQ(outcome.exit_code, 75) << outcome.err;
    in_evaluation = outcome.err.find("in the evaluation after epoch 1") != std::string::npos;
    if (!in_evaluation) continue;
    EXPECT_EQ(newest_step(run), 8);
    const auto before = metrics(run);
    EXPECT_TRUE(std::none_of(before.begin(), before.end(), [](const auto& line) { return line["kind"] == "eval"; }));
    expect_success(train(1, run, slow));
    EXPECT_EQ(metrics(run), metrics("undisturbed"));
    EXPECT_EQ(tensors(run), tensors("undisturbed"));
  }
  EXPECT_TRUE(in_evaluation);
  report("R20", "stops in the evaluation of an epoch, with its checkpoint and without a line that lacks", in_evaluation,
         1);

  // As a run that finds a line about the evaluation, and makes none, shows.
  train_and_kill("forgot", 8, slow);
  std::string kept;
  std::ifstream lines(folder / "forgot/metrics.jsonl");
  for (std::string line; std::getline(lines, line);)
    if (const auto json = nlohmann::json::parse(line, nullptr, false); json.is_object() && json["kind"] == "step")
      kept += line + "\n";
  std::filesystem::remove(folder / "forgot/checkpoints/step_00000009.h5");
  write_durably(folder / "forgot/metrics.jsonl", kept + R"({"kind":"eval","global_step":8})" + "\n");
  expect_success(train(1, "forgot", slow));
  const bool caught = metrics("forgot") != metrics("undisturbed");
  EXPECT_TRUE(caught);
  report_mutants("R20", "a run that does not make up for an evaluation", caught, 1);
}

}  // namespace
}  // namespace spankey::test::requests_test
