// Key laws, families of wrong keys, twins and deny modes through the real program.
#include <string>

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
       "deny.families=['gaussian', 'near_miss', 'permuted', 'other_basis', 'sparse']"},
      {"key.alpha=sphere", "key.rescale=batch", "key.multiplier=sym", "deny.mode=BS", "deny.on=['wrong', 'none']"},
      {"train.twin=noise", "key.layout=shared_blocks"},
      {"train.twin=fixed_key", "deny.mode=cplus", "deny.stop_gradient=true"},
      {"train.twin=vanilla"},
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
