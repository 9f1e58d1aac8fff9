// Key laws, families of wrong keys, twins and deny modes through the real program.
#include <algorithm>
#include <fstream>
#include <string>

#include "base/file.h"
#include "small_run.h"
#include "support/expect_error.h"

namespace spankey::test::key_options_test {
namespace {

using testing::AllOf, testing::HasSubstr;

class KeyOptions : public SmallRun {
 protected:
  // An epoch of the small run on elastic shards; returns its result.
  nlohmann::json trained(const std::string& name, int ranks, std::vector<std::string> options) const {
    for (const char* more : {"train.epochs=1", "dist.reduction=elastic", "dist.shards=2", "eval.keys=1"})
      options.emplace_back(more);
    expect_success(train(ranks, name, options));
    return result(name);
  }
};

TEST_F(KeyOptions, EvalTriesFamiliesAndNorms) {
  expect_success(train(1, "run", {"train.epochs=2"}));
  const auto eval = [&](std::vector<std::string> more, int ranks = 1) {
    std::vector<std::string> arguments{"eval", "run"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run(on_ranks(ranks, arguments), folder.path());
  };
  const auto all = nlohmann::json::parse(eval({"--families", "all", "--json"}).out);
  EXPECT_EQ(all["families"].size(), 14U);
  EXPECT_EQ(all["wrong_family"], "gaussian");
  EXPECT_EQ(all["wrong_key"], result("run")["wrong_key"]);
  const auto some =
      nlohmann::json::parse(eval({"--families", "Negated,sparse", "--norm-sweep", ".5,2", "--json"}, 2).out);
  EXPECT_EQ(some["wrong_family"], "negated");
  EXPECT_EQ(some["families"]["sparse"], all["families"]["sparse"]);
  EXPECT_EQ(some["norm_sweep"].size(), 2U);
  const auto table = eval({"--families", "negated,one_hot", "--norm-sweep", ".5,2"});
  EXPECT_THAT(table.out, AllOf(HasSubstr("one_hot"), HasSubstr("worst case: "), HasSubstr("norm of keys")));
  const auto unknown = eval({"--families", "negated,one_hat"});
  EXPECT_EQ(unknown.exit_code, 2);
  EXPECT_THAT(unknown.err,
              AllOf(HasSubstr("\"one_hat\""), HasSubstr("did you mean 'one_hot'"), HasSubstr("near_miss")));
  EXPECT_EQ(eval({"--families", "negated,negated"}).exit_code, 2);
  EXPECT_EQ(eval({"--norm-sweep", "0"}).exit_code, 2);
}

// The table of train, eval, report and inspect ends with the same sentence.
TEST_F(KeyOptions, OneVerdictStandsEverywhere) {
  const auto trained_run = run(train(1, "run", {"train.epochs=2"}), folder.path());
  ASSERT_EQ(trained_run.exit_code, 0) << trained_run.err;
  const auto verdict = result("run")["verdict"];
  const auto text = verdict["text"].get<std::string>();
  EXPECT_THAT(text, HasSubstr("accuracy is"));
  EXPECT_DOUBLE_EQ(verdict["withheld"].get<double>(),
                   verdict["correct_key"].get<double>() - verdict["worst"]["accuracy"].get<double>());
  const auto says = [&](const std::vector<std::string>& arguments) {
    const auto outcome = run(on_ranks(1, arguments), folder.path());
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    return outcome.out;
  };
  EXPECT_THAT(trained_run.out, HasSubstr(text));
  EXPECT_THAT(says({"eval", "run"}), HasSubstr(text));
  EXPECT_THAT(says({"inspect", "run"}), HasSubstr(text));
  EXPECT_THAT(says({"train", "small.toml", "--run-dir", "run", "train.epochs=2"}), HasSubstr(text));  // is finished
  EXPECT_THAT(says({"report", "run", "--out", "out"}), HasSubstr("1 run: "));
  EXPECT_THAT(read_text(folder / "out/report.md"), HasSubstr(text));
  EXPECT_THAT(read_text(folder / "out/index.html"), HasSubstr(text));
}

TEST_F(KeyOptions, EvalHoldsARunToWhatIsRequired) {
  expect_success(train(1, "run", {"train.epochs=1"}));
  const auto eval = [&](const std::vector<std::string>& required, int ranks = 1) {
    std::vector<std::string> arguments{"eval", "run"};
    for (const auto& one : required) arguments.insert(arguments.end(), {"--require", one});
    return run(on_ranks(ranks, arguments), folder.path());
  };
  const double withheld = result("run")["verdict"]["withheld"];
  const auto met = eval({fmt::format("withheld>={}", withheld - 0.01), "no_key.strip_accuracy <= 1"});
  EXPECT_EQ(met.exit_code, 0) << met.err;
  for (const int ranks : {1, 2}) {
    const auto missed = eval({fmt::format("correct_key.accuracy.mean <= 1 and withheld > {}", withheld + 0.01)}, ranks);
    EXPECT_EQ(missed.exit_code, 3) << missed.err;
    EXPECT_THAT(missed.out, HasSubstr("always the commonest"));  // what was measured is shown all the same
    const auto line = missed.err.find("required, and not met: withheld > ");
    ASSERT_NE(line, std::string::npos) << missed.err;
    EXPECT_THAT(missed.err, HasSubstr(fmt::format("measured {:.6g}", withheld)));
    EXPECT_EQ(missed.err.find("required, and not met", line + 1), std::string::npos) << missed.err;  // from one rank
  }
  for (const auto& [expression, near] :
       {std::pair("witheld>0", "did you mean 'withheld'"), std::pair("train.no_key.accuracy>0", "none of the numbers"),
        std::pair("withheld=>0", "cannot be read")}) {
    const auto refused = eval({expression});
    EXPECT_EQ(refused.exit_code, 2) << refused.err;
    EXPECT_EQ(refused.out, "");  // nothing was measured
    EXPECT_THAT(refused.err, HasSubstr(near));
    EXPECT_EQ(std::count(refused.err.begin(), refused.err.end(), '\n'), 1) << refused.err;
  }
}

TEST_F(KeyOptions, TwoNamesOfOneLawAreTold) {
  const auto config = [&](const std::vector<std::string>& more) {
    std::vector<std::string> arguments{"config", "small.toml"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run(on_ranks(1, arguments), folder.path()).out;
  };
  EXPECT_THAT(config({"key.alpha=sphere"}), HasSubstr("# key.alpha: under key.rescale = \"key\""));
  EXPECT_THAT(config({"key.multiplier=sym"}), HasSubstr("# key.multiplier: for key.gamma <= 0.9"));
  for (const auto& more : std::vector<std::vector<std::string>>{
           {}, {"key.alpha=sphere", "key.rescale=batch"}, {"key.multiplier=sym", "key.gamma=1"}})
    EXPECT_THAT(config(more), testing::Not(HasSubstr("#")));
}

TEST_F(KeyOptions, AResultTellsWhereItComesFrom) {
  auto command = train(1, "run", {"train.epochs=1", "run.name=it's a run"});
  expect_success(command);
  const auto made = result("run");
  EXPECT_LE(made["started_at"], made["finished_at"]);
  EXPECT_THAT(made["finished_at"].get<std::string>(), testing::EndsWith("Z"));
  EXPECT_FALSE(made["host"].get<std::string>().empty());
  EXPECT_THAT(made["program"].get<std::string>(), HasSubstr("git"));
  EXPECT_THAT(made["command"].get<std::string>(), AllOf(HasSubstr("train small.toml --run-dir run train.epochs=1"),
                                                        HasSubstr(R"('run.name=it'\''s a run')")));
  std::ifstream file(folder / "run/metrics.jsonl");
  int lines = 0;
  for (std::string text; std::getline(file, text); ++lines) {
    const auto line = nlohmann::json::parse(text);
    EXPECT_GE(line["time"], made["started_at"]);
    EXPECT_LE(line["time"], made["finished_at"]);
    EXPECT_EQ(line.contains("started_at"), lines == 0);
  }
  EXPECT_GT(lines, 0);
}

TEST_F(KeyOptions, FamiliesOfTheConfigurationAreInTheResult) {
  const auto figures = trained("run", 1, {"eval.families=['one_hot', 'gaussian']"});
  EXPECT_EQ(figures["wrong_family"], "one_hot");
  EXPECT_EQ(figures["families"].size(), 2U);
  const auto outcome = run(train(1, "bad", {"deny.families=['near_mis']"}), folder.path());
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_THAT(outcome.err, AllOf(HasSubstr("deny.families"), HasSubstr("near_miss")));
}

// Whatever keys are made of, they are functions of the sample and the step: two ranks train to the same bits as one.
TEST_F(KeyOptions, EveryOptionGivesTheSameBitsOnTwoRanks) {
  const std::vector<std::vector<std::string>> variants = {
      {"key.alpha=codebook", "key.layout=shared_blocks", "key.multiplier=exp",
       "deny.families=['gaussian', 'near_miss', 'permuted', 'other_basis', 'sparse']", "deny.mode=BU",
       "deny.adversarial_steps=2", "deny.feature_weight=0.5"},
      {"key.alpha=sphere", "key.rescale=batch", "key.multiplier=sym", "deny.mode=BS", "deny.on=['wrong', 'none']"},
      {"train.twin=noise", "key.layout=shared_blocks"},
      {"train.twin=fixed_key", "deny.mode=cplus", "deny.stop_gradient=true"},
      {"train.twin=vanilla"},
      {"key.basis=cone", "key.multiplier=sign", "key.layers=[0,1]", "key.permute=[1,2]", "deny.on=['wrong', 'none']",
       "key.norm_clamp=true", "optim.schedule=linear"},
  };
  std::vector<std::string> weights;
  for (std::size_t i = 0; i < variants.size(); ++i) {
    const auto one = trained("one" + std::to_string(i), 1, variants[i]);
    const auto two = trained("two" + std::to_string(i), 2, variants[i]);
    EXPECT_EQ(one["weights_sha256"], two["weights_sha256"]) << i;
    EXPECT_EQ(one["correct_key"], two["correct_key"]) << i;
    EXPECT_EQ(one["wrong_key"], two["wrong_key"]) << i;
    for (const auto& other : weights) EXPECT_NE(one["weights_sha256"].get<std::string>(), other) << i;
    weights.push_back(one["weights_sha256"]);
  }
  // The vanilla twin is the network without keys, a deny loss or a reject class.
  const auto vanilla = result("one4");
  EXPECT_EQ(vanilla["correct_key"]["accuracy"]["mean"], vanilla["no_key"]["accuracy"]);
  EXPECT_TRUE(vanilla["no_key"]["reject_fraction"].is_null());
}

}  // namespace
}  // namespace spankey::test::key_options_test
