// Signs, a cone and features that change places, with a rate that falls at every step: the same bits whatever the ranks
// and the interruptions.
#include "small_run.h"
#include "support/expect_error.h"

namespace spankey::test::routing_test {
namespace {

using testing::AllOf, testing::HasSubstr;

class Routing : public SmallRun {
 protected:
  const std::vector<std::string> options{"key.basis=cone",        "key.multiplier=sign",    "key.layers=[0, 1]",
                                         "key.permute=[1, 2]",    "key.norm_clamp=true",    "deny.on=['wrong', 'none']",
                                         "optim.schedule=linear", "dist.reduction=elastic", "dist.shards=4"};
};

TEST_F(Routing, OneTwoAndFourRanksGiveTheSameBits) {
  for (const int ranks : {1, 2, 4}) expect_success(train(ranks, "ranks" + std::to_string(ranks), options));
  EXPECT_EQ(tensors("ranks2"), tensors("ranks1"));
  EXPECT_EQ(tensors("ranks4"), tensors("ranks1"));
  EXPECT_EQ(metrics("ranks4"), metrics("ranks1"));
  // The rate of the last step is a 64th part of what the whole line would be, over the last 30 %.
  const auto lines = metrics("ranks1");
  const auto last = std::find_if(lines.rbegin(), lines.rend(), [](const auto& line) { return line["kind"] == "step"; });
  EXPECT_NEAR((*last)["lr"].get<double>(), 1e-3 / 64 / 0.3, 1e-12);
  // Controls: features that stay where they are, and another rate, are other networks.
  for (const char* less : {"key.permute=[]", "optim.schedule=constant"}) {
    auto without = options;
    without.emplace_back(less);
    expect_success(train(1, less, without));
    EXPECT_NE(tensors(less), tensors("ranks1")) << less;
  }
}

TEST_F(Routing, EndsWithTheSameBitsAfterKills) {
  expect_success(train(1, "undisturbed", options));
  EXPECT_GT(kill_thrice("killed", [&](int attempt) { return train(attempt == 1 ? 2 : 1, "killed", options); }), 0);
  expect_success(train(1, "killed", options));
  EXPECT_EQ(tensors("killed"), tensors("undisturbed"));
  EXPECT_EQ(metrics("killed"), metrics("undisturbed"));
  // Families of wrong keys, a clamped norm, and what a diagnosis cannot do.
  const auto eval =
      run({program(), "eval", "killed", "--families", "all", "--norm-sweep", "0.1,4", "--json"}, folder.path());
  ASSERT_EQ(eval.exit_code, 0) << eval.err;
  const auto figures = nlohmann::json::parse(eval.out);
  EXPECT_NEAR(figures["families"]["scaled"]["accuracy"]["mean"].get<double>(),
              figures["correct_key"]["accuracy"]["mean"].get<double>(), 0.01);
  expect_refused({"diagnose", "killed"}, "accepted for a diagnosis");
}

}  // namespace
}  // namespace spankey::test::routing_test
