#include <algorithm>

#include "base/file.h"
#include "small_run.h"

namespace spankey::test::diagnose_test {
namespace {

using Diagnose = SmallRun;

TEST_F(Diagnose, WritesFiguresTablesAndPlots) {
  expect_success(train(1, "run", {"train.epochs=1"}));
  const auto outcome = run({program(), "diagnose", "run", "--samples", "64", "--keys", "2", "--json"}, folder.path());
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const auto printed = nlohmann::json::parse(outcome.out);
  EXPECT_EQ(printed, nlohmann::json::parse(read_text(folder / "run/diagnose/diagnose.json")));
  EXPECT_EQ(printed.at("run").at("samples"), 64);
  EXPECT_TRUE(std::filesystem::exists(folder / "run/diagnose/diagnose.md"));
  EXPECT_NE(read_text(folder / "run/diagnose/diagnose.html").find("Nearness that opens"), std::string::npos);
  EXPECT_TRUE(std::filesystem::exists(folder / "run/diagnose/acceptance.gp"));

  const auto on_two = on_ranks(2, {"diagnose", "run", "--samples", "64", "--keys", "2", "--out", "elsewhere"});
  const auto again = run(on_two, folder.path());
  ASSERT_EQ(again.exit_code, 0) << again.err;
  EXPECT_NE(again.out.find("| accuracy | no key |"), std::string::npos) << again.out;
  const auto shared = nlohmann::json::parse(read_text(folder / "elsewhere/diagnose.json"));
  EXPECT_NEAR(shared.at("margin_tail").at("as_shipped").at("predicted").at("jacobian_gaussian").get<double>(),
              printed.at("margin_tail").at("as_shipped").at("predicted").at("jacobian_gaussian").get<double>(), 1e-9);
}

TEST_F(Diagnose, IsPartOfTheReportOfItsRun) {
  expect_success(train(1, "run", {"train.epochs=1"}));
  const auto report = [&] {
    expect_success({program(), "report", "run"});
    return read_text(folder / "run/report/index.html");
  };
  EXPECT_EQ(report().find("Diagnos"), std::string::npos);
  expect_success({program(), "diagnose", "run", "--samples", "16", "--keys", "2"});
  const auto page = report();
  for (const char* title : {"Diagnosis", "Absorption", "Nearness that opens", "How alike valid keys are"})
    EXPECT_NE(page.find(std::string(">") + title + "</a></h2>"), std::string::npos) << title;
}

TEST_F(Diagnose, NeedsRoomBesideTheValidKeys) {
  expect_success(
      train(1, "run", {"train.epochs=1", "data.file=builtin:argmax", "model.name=mlp", "key.layers=[0]", "key.m=20"}));
  const auto outcome = run({program(), "diagnose", "run"}, folder.path());
  EXPECT_EQ(outcome.exit_code, 2) << outcome.err;
  EXPECT_NE(outcome.err.find("key.m"), std::string::npos) << outcome.err;
  EXPECT_NE(outcome.err.find("at most 19"), std::string::npos) << outcome.err;
}

TEST_F(Diagnose, BadInputIsOneSentence) {
  for (const auto& [arguments, sentence] : std::vector<std::pair<std::vector<std::string>, std::string>>{
           {{"diagnose", "nowhere"}, "nowhere"},
           {{"diagnose", "nowhere", "--keys", "1"}, "--keys"},
           {{"diagnose", "nowhere", "--samples", "0"}, "--samples"}}) {
    expect_refused(arguments, sentence);
  }
}

}  // namespace
}  // namespace spankey::test::diagnose_test
