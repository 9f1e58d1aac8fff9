#include "report/report.h"

#include <gmock/gmock.h>

#include <cmath>
#include <cstdlib>
#include <map>

#include "base/file.h"
#include "page/document.h"
#include "record/verdict.h"
#include "report/groups.h"
#include "report/run_record.h"
#include "run_folder.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace spankey::test::report_test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

// A reader of RFC 4180 that knows nothing of the writer.
std::vector<std::vector<std::string>> parse_csv(const std::string& text) {
  std::vector<std::vector<std::string>> rows{{""}};
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted && c == '"' && i + 1 < text.size() && text[i + 1] == '"') {
      rows.back().back() += text[++i];
    } else if (c == '"') {
      quoted = !quoted;
    } else if (!quoted && c == ',') {
      rows.back().emplace_back();
    } else if (!quoted && c == '\n') {
      rows.push_back({""});
    } else {
      rows.back().back() += c;
    }
  }
  rows.pop_back();
  return rows;
}

std::string field(const std::vector<std::vector<std::string>>& rows, std::size_t row, const std::string& column) {
  for (std::size_t i = 0; i < rows[0].size(); ++i)
    if (rows[0][i] == column) return rows[row][i];
  return fmt::format("no column {}", column);
}

std::string seed_config(int seed, const std::string& more = "") {
  return fmt::format("[run]\nseed = {}\n{}", seed, more);
}

class Report : public testing::Test {
 protected:
  WrittenReport write(const std::string& published = "") {
    return write_report(
        {{folder / "runs"}, folder / "out", published.empty() ? folder / "none.toml" : folder / published});
  }
  void SetUp() override { write_file(folder / "none.toml", "source = \"nowhere\"\n"); }
  std::string text(const std::string& name) { return read_text(folder / "out" / name); }
  void add(const std::string& name, const MadeRun& run) { write_run(folder / "runs" / name, run); }

  TemporaryFolder folder;
};

// 0.90, 0.92, 0.97: mean 0.93, variance 13e-4; t(0.975, 2) = 4.302653 (tables). At both ends e of the mean's interval
// (.93 - e)^2 = t^2 13e-4 / 3 times e (1 - e) / (.93 .07), of that of one more seed with 13e-4 (1 + 1/3).
TEST(SeedSpread, IntervalsByHand) {
  const auto spread = spread_over_seeds({0.90, 0.92, 0.97});
  EXPECT_NEAR(spread.summary.mean, 0.93, 1e-12);
  EXPECT_NEAR(spread.summary.sd, std::sqrt(13e-4), 1e-12);
  const auto is_end = [](double end, double variance) {
    EXPECT_NEAR(std::pow(0.93 - end, 2), std::pow(4.302653, 2) * variance * end * (1 - end) / 0.0651, 1e-6) << end;
  };
  for (const double end : {spread.mean_interval.low, spread.mean_interval.high}) is_end(end, 13e-4 / 3);
  for (const double end : {spread.prediction.low, spread.prediction.high}) is_end(end, 13e-4 * 4 / 3);
  EXPECT_NEAR(spread.mean_interval.low, 0.7860, 1e-4);
  EXPECT_NEAR(spread.mean_interval.high, 0.9796, 1e-4);
  EXPECT_TRUE(std::isnan(spread_over_seeds({0.5}).prediction.low));
  const auto differences = spread_over_seeds({0.001, -0.002, 0.0}, /*differences=*/true);
  EXPECT_LT(differences.mean_interval.low, -0.0003);
  EXPECT_GT(differences.mean_interval.high, -0.0003);
}

TEST_F(Report, SeedsMakeAGroupAndRepeatsDoNotCount) {
  add("a", {.config = seed_config(1), .correct = 0.90});
  add("b", {.config = seed_config(2), .correct = 0.92});
  add("c", {.config = seed_config(3), .correct = 0.97});
  add("d", {.config = seed_config(3), .correct = 0.10});
  add("e", {.config = seed_config(1, "[key]\ngamma = 2.0\n"), .correct = 0.5});
  write();
  const auto rows = parse_csv(text("groups.csv"));
  std::map<std::string, std::size_t> correct;
  for (std::size_t i = 1; i < rows.size(); ++i)
    if (field(rows, i, "figure") == "correct_key.accuracy") correct[field(rows, i, "group")] = i;
  ASSERT_EQ(correct.size(), 2U);
  const auto row = correct.at("gamma 0.5");
  EXPECT_EQ(field(rows, row, "n"), "3");
  EXPECT_EQ(field(rows, row, "seeds"), "1 2 3");
  EXPECT_NEAR(std::stod(field(rows, row, "mean")), 0.93, 1e-12);
  EXPECT_NEAR(std::stod(field(rows, row, "ci95_low")), 0.7860, 1e-4);
  EXPECT_EQ(field(rows, correct.at("gamma 2.0"), "n"), "1");
  EXPECT_EQ(field(rows, correct.at("gamma 2.0"), "ci95_low"), "");
  // Seed 3 was run twice: 0.97 and 0.10.
  EXPECT_THAT(text("report.md"), HasSubstr("Noise floor, the largest difference between runs of one seed: 0.8700"));
  EXPECT_THAT(text("report.md"),
              HasSubstr("1000 test samples. Model: `small_cnn`. Seeds a group: 1 to 3. Keys a family: 16."));
}

TEST_F(Report, TheHeadlineTakesTheWorstOfAllSeeds) {
  add("a", {.config = seed_config(1), .correct = 0.9, .strip = 0.2});
  add("b", {.config = seed_config(2), .correct = 0.9, .strip = 0.4});
  write();
  EXPECT_THAT(text("report.md"), HasSubstr("In the worst case tried here, a withholds most: 0.500 of accuracy."));
}

TEST_F(Report, OpensWithLargeFigures) {
  const auto figure = [&](const std::string& label) {
    const auto page = text("index.html");
    const auto head = "<dt>" + label + "</dt><dd class=\"value\">";
    const auto at = page.find(head);
    return at == std::string::npos ? std::string()
                                   : page.substr(at + head.size(), page.find('<', at + head.size()) - at - head.size());
  };
  add("a", {.config = seed_config(1), .correct = 0.9, .none = 0.1, .strip = 0.2});
  write();
  EXPECT_EQ(figure("correct key"), "0.900");
  EXPECT_EQ(figure("no key"), "0.100");
  EXPECT_EQ(figure("worst case"), "0.200");
  EXPECT_EQ(figure("price of entry"), "");  // not attacked
  add("b", {.config = seed_config(2),
            .correct = 0.8,
            .none = 0.1,
            .strip = 0.4,
            .attacks = {{"K5", 10, 0.75}, {"K5", 60, 0.8}}});
  write();
  EXPECT_EQ(figure("correct key"), "0.850");  // mean of both seeds
  EXPECT_EQ(figure("worst case"), "0.800");   // of the worse seed, attacks counted
  EXPECT_EQ(figure("price of entry"), "10");  // 0.65 of 0.7 above chance is more than 0.9
}

// With mode A a loss may be negative. The axis stays logarithmic, in both directions.
TEST_F(Report, NegativeLossesHaveALogarithmicAxisToo) {
  add("a", {.config = seed_config(1)});
  write_file(folder / "runs/a/metrics.jsonl",
             "{\"kind\": \"step\", \"epoch\": 0, \"step\": 1, \"loss\": 1, \"ce\": 2, \"deny\": -2}\n"
             "{\"kind\": \"step\", \"epoch\": 0, \"step\": 2, \"loss\": -1, \"ce\": 0.01, \"deny\": -2.1}\n");
  if (write().gnuplot_missing) GTEST_SKIP() << "gnuplot is not installed";
  EXPECT_THAT(text("plots/learning.gp"), AllOf(HasSubstr("set nonlinear y"), HasSubstr("unset nonlinear y")));
}

// A logarithmic axis of less than a power of ten would have no number.
TEST_F(Report, AShortAxisOfLossesIsMarked) {
  add("a", {.config = seed_config(1)});
  if (write().gnuplot_missing) GTEST_SKIP() << "gnuplot is not installed";
  const auto marks = [&](double high, double low) {
    write_file(
        folder / "runs/a/metrics.jsonl",
        fmt::format("{{\"kind\": \"step\", \"epoch\": 0, \"step\": 1, \"loss\": {0}, \"ce\": {0}, \"deny\": 0}}\n"
                    "{{\"kind\": \"step\", \"epoch\": 0, \"step\": 2, \"loss\": {1}, \"ce\": {1}, \"deny\": 0}}\n",
                    high, low));
    write();
    const auto commands = text("plots/learning.gp");
    const auto begin = commands.find("set ytics (");
    return begin == std::string::npos ? std::string() : commands.substr(begin, commands.find('\n', begin) - begin);
  };
  EXPECT_EQ(marks(2.4, 0.45), "set ytics (0.5, 1, 2)");
  EXPECT_EQ(marks(0.45, 0.31), "set ytics (0.35, 0.4, 0.45)");
  EXPECT_EQ(marks(1.24, 1.16), "set ytics (1.15, 1.2, 1.25)");
  EXPECT_EQ(marks(20, 0.1), "");  // gnuplot marks the powers
}

// The same sentence and the same figures wherever they stand.
TEST_F(Report, TheVerdictStandsInEveryForm) {
  auto result = made_result({.correct = 0.93, .none = 0.93, .wrong = 0.93, .strip = 0.93, .worst_key = 0.93});
  const auto text_of = judge_access(result).text();
  EXPECT_THAT(text_of, HasSubstr("The key does not decide"));
  write_file(folder / "runs/a/config.toml", seed_config(1));
  write_file(folder / "runs/a/result.json", result.dump());
  write();
  for (const char* name : {"report.md", "index.html"}) EXPECT_THAT(text(name), HasSubstr(text_of)) << name;
  add("b", {.config = seed_config(2)});
  write();
  EXPECT_THAT(text("report.md"), HasSubstr("| 0.0000 | does not decide |"));  // the worse seed
  const auto rows = parse_csv(text("trials.csv"));
  EXPECT_EQ(field(rows, 1, "verdict"), "does not decide");
  EXPECT_EQ(std::stod(field(rows, 1, "verdict.withheld")), 0.0);
  EXPECT_EQ(field(rows, 2, "verdict"), "decides little");  // .9 with a key, .8 stripped
  const auto groups = parse_csv(text("groups.csv"));
  EXPECT_EQ(field(groups, 1, "verdict"), "does not decide");
}

TEST_F(Report, IntervalsStayWithinWhatAShareCanBe) {
  int seed = 0;
  for (const double value : {0.995, 1.0, 0.98}) {
    const auto name = fmt::format("r{}", ++seed);
    add(name, {.config = seed_config(seed), .correct = value, .none = 0.0, .wrong = 0.002 * seed});
  }
  write();
  const auto rows = parse_csv(text("groups.csv"));
  int intervals = 0;
  for (std::size_t i = 1; i < rows.size(); ++i)
    for (const char* end : {"ci95_low", "ci95_high", "prediction_low", "prediction_high"}) {
      const auto value = field(rows, i, end);
      if (value.empty()) continue;
      ++intervals;
      EXPECT_LE(std::stod(value), 1.0) << field(rows, i, "figure");
      EXPECT_GE(std::stod(value), field(rows, i, "figure").starts_with("verdict.withheld") ? -1.0 : 0.0);
    }
  EXPECT_GT(intervals, 20);
  EXPECT_THAT(text("report.md"), HasSubstr("Wilson's score interval"));
}

// What gnuplot reads as a format, as markup or as the end of a text.
TEST_F(Report, NamesAreDrawnAsTyped) {
  const std::string odd = R"(50% _a_ ^b {c} @d &e ~f "g" 'h' \i %s $1 #j `k`)";
  for (const auto& [name, run_name] : {std::pair("a", odd), std::pair("b", std::string("lr 100%"))}) {
    std::string quoted;
    for (const char c : run_name) quoted += c == '\\' || c == '"' ? std::string("\\") + c : std::string(1, c);
    const MadeRun run{.config = fmt::format("[run]\nname = \"{}\"\n[key]\nm = {}\n", quoted, 4 + name[0] % 2)};
    add(name, run);
    auto evaluation = made_result(run);
    evaluation["kind"] = "eval";
    evaluation["epoch"] = 0;
    write_file(folder / "runs" / name / "metrics.jsonl",
               "{\"kind\": \"step\", \"epoch\": 0, \"step\": 1, \"loss\": 1, \"ce\": 1, \"deny\": 2}\n" +
                   evaluation.dump() + "\n");
  }
  if (write().gnuplot_missing) GTEST_SKIP() << "gnuplot is not installed";
  const std::string drawn = R"(50% _a_ ^b {c} @d &amp;e ~f "g" 'h' \i %s $1 #j `k`)";
  EXPECT_THAT(text("plots/runs_1.svg"), HasSubstr(drawn));
  EXPECT_THAT(text("plots/runs_1.svg"), HasSubstr("lr 100%<"));
  EXPECT_THAT(text("plots/runs_1.svg"), Not(HasSubstr("%%")));
}

TEST_F(Report, LinkedRunsAreFollowedOnceAndLoopsEnd) {
  add("a", {.config = seed_config(1)});
  write_run(folder / "store/b", {.config = seed_config(2)});
  write_run(folder / "more/deep/c", {.config = seed_config(3)});
  write_run(folder / "d", {.config = seed_config(4)});  // beside the folder that is asked for
  const auto link = [&](const std::string& to, const std::string& name) {
    std::filesystem::create_directory_symlink(to, folder / "runs" / name);
  };
  link("../store/b", "b");
  link("../store/b", "b_again");
  link("a", "a_again");
  link("../more", "more");
  link("..", "upwards");
  link("/", "root");
  link("nowhere", "broken");
  std::filesystem::create_directory_symlink("../more", folder / "more/itself");
  EXPECT_EQ(write().runs, 3U);
}

TEST_F(Report, UnfinishedRunsAreShownAsFarAsTheyCame) {
  auto evaluation = made_result({.correct = 0.625, .none = 0.25});
  evaluation["kind"] = "eval";
  evaluation["epoch"] = 1;
  evaluation["global_step"] = 20;
  write_file(folder / "runs/young/config.toml", seed_config(4, "[train]\nepochs = 7\n"));
  write_file(
      folder / "runs/young/metrics.jsonl",
      "{\"kind\": \"step\", \"epoch\": 0, \"step\": 10, \"global_step\": 10, \"loss\": 2, \"ce\": 1, \"deny\": 2}\n" +
          evaluation.dump() +
          "\n{\"kind\": \"step\", \"epoch\": 2, \"step\": 3, \"global_step\": 23, \"loss\": 1, \"ce\": 1, \"deny\": "
          "2}\n{\"torn");
  const auto written = write();
  EXPECT_EQ(written.runs, 1U);
  EXPECT_THAT(text("report.md"), HasSubstr("- **correct key: 0.625** after epoch 2, with one key"));
  EXPECT_THAT(text("report.md"), HasSubstr("- **unfinished: 2 of 7** epochs evaluated, 23 steps done"));
  EXPECT_THAT(text("report.md"), HasSubstr("1 run, none of which has come to its end: 1 unfinished, 0 failed."));
  EXPECT_THAT(text("report.md"),
              HasSubstr("| unfinished | 4 | [young](../runs/young) | 23 | 2 of 7 | 0.6250 | 0.2500 | 0.8000 |"));
  const auto rows = parse_csv(text("trials.csv"));
  EXPECT_EQ(field(rows, 1, "steps_done"), "23");
  EXPECT_EQ(std::stod(field(rows, 1, "correct_key.accuracy.mean")), 0.625);
  EXPECT_EQ(field(rows, 1, "verdict"), "");
  if (!written.gnuplot_missing) {
    EXPECT_THAT(text("report.md"), HasSubstr("Learning curves of young"));
  }
}

TEST_F(Report, TheTitleNamesWhatWasAskedFor) {
  std::vector<std::filesystem::path> asked;
  for (const char* name : {"a", "b", "c", "d", "e"}) {
    write_run(folder / name, {.config = seed_config(1, fmt::format("[key]\nm = {}\n", static_cast<int>(name[0])))});
    asked.push_back(folder / name);
  }
  const auto title = [&](std::size_t count) {
    return collect_runs({asked.begin(), asked.begin() + static_cast<std::ptrdiff_t>(count)}).title;
  };
  EXPECT_EQ(title(1), "a");
  EXPECT_EQ(title(3), "a, b, c");
  EXPECT_EQ(title(5), "a, b, c and 2 more");
}

TEST_F(Report, TrialsReadBackWithTheirFigures) {
  const std::string name = "a, \"b\"\nc";
  add("x", {.config = "[run]\nseed = 7\nname = \"a, \\\"b\\\"\\nc\"\n", .correct = 0.875, .seconds = 600});
  write();
  const auto rows = parse_csv(text("trials.csv"));
  ASSERT_EQ(rows.size(), 2U);
  EXPECT_EQ(rows[1].size(), rows[0].size());
  EXPECT_EQ(field(rows, 1, "name"), name);
  EXPECT_EQ(field(rows, 1, "seed"), "7");
  EXPECT_EQ(field(rows, 1, "status"), "done");
  EXPECT_EQ(std::stod(field(rows, 1, "correct_key.accuracy.mean")), 0.875);
  EXPECT_NEAR(std::stod(field(rows, 1, "core_hours")), 2 * 3 * 600 / 3600.0, 1e-12);
}

TEST_F(Report, GpuRunsCountInGpuHours) {
  add("cpu", {.config = seed_config(1), .seconds = 600});                                   // 2 ranks, 3 threads
  add("gpu", {.config = seed_config(2, "[train]\ndevice = \"cuda\"\n"), .seconds = 1800});  // 2 ranks
  write();
  EXPECT_THAT(text("report.md"), HasSubstr("1.0000 core hours, 1.0000 GPU hours"));
  const auto rows = parse_csv(text("trials.csv"));
  EXPECT_EQ(field(rows, 1, "core_hours") + "," + field(rows, 1, "gpu_hours"), "1,");
  EXPECT_EQ(field(rows, 2, "core_hours") + "," + field(rows, 2, "gpu_hours"), ",1");
}

TEST_F(Report, NamesCannotBreakThePage) {
  add("x", {.config = seed_config(1, "name = \"<script>alert('&')</script> | x\"\n")});
  add("y", {.config = seed_config(1, "name = \"plain\"\n[key]\nm = 4\n")});
  write();
  EXPECT_THAT(text("index.html"), Not(HasSubstr("<script>alert")));
  EXPECT_THAT(text("index.html"), HasSubstr("&lt;script&gt;alert(&#39;&amp;&#39;)&lt;/script&gt; | x"));
  EXPECT_THAT(text("report.md"), HasSubstr("&lt;script>alert('&amp;')&lt;/script> \\| x"));
  EXPECT_THAT(text("index.html"), Not(HasSubstr("src=\"")));  // nothing from elsewhere
}

TEST_F(Report, DifferentDataNeverShareATable) {
  add("x", {.config = seed_config(1), .data_digest = std::string(64, 'a')});
  add("y", {.config = seed_config(2), .data_digest = std::string(64, 'b')});
  write();
  const auto rows = parse_csv(text("groups.csv"));
  for (std::size_t i = 1; i < rows.size(); ++i) EXPECT_EQ(field(rows, i, "n"), "1");
  EXPECT_THAT(text("report.md"), HasSubstr("2 different data sets"));
  EXPECT_THAT(text("index.html"), HasSubstr("Access by group: builtin:glyphs (aaaaaaaaaaaa)"));
  EXPECT_THAT(text("index.html"), HasSubstr("Access by group: builtin:glyphs (bbbbbbbbbbbb)"));
}

TEST_F(Report, DamagedAndUnfinishedRunsAreNamedAndLeftOut) {
  add("good", {.config = seed_config(1)});
  add("torn", {.config = seed_config(2)});
  write_file(folder / "runs/torn/result.json", "{\"no_key\": {");
  add("hollow", {.config = seed_config(3)});
  write_file(folder / "runs/hollow/result.json", "{\"no_key\": 3}");
  write_file(folder / "runs/young/config.toml", seed_config(4));
  const auto written = write();
  EXPECT_EQ(written.damaged, 2U);
  EXPECT_EQ(written.runs, 2U);
  for (const char* name : {"runs/torn/result.json", "runs/hollow/result.json"})
    EXPECT_THAT(text("report.md"), HasSubstr(name));
  EXPECT_THAT(text("report.md"), HasSubstr("| unfinished | 4 |"));
  EXPECT_EQ(parse_csv(text("trials.csv")).size(), 3U);
}

// What is only printed, or only asked for when it is there, costs no more than its own run either.
TEST_F(Report, AFieldOfAnotherTypeCostsOnlyItsRun) {
  add("good", {.config = seed_config(1)});
  const std::vector<std::pair<std::string, nlohmann::json>> damages{
      {"weights_sha256", nullptr}, {"device", nullptr},
      {"wrong_family", 3},         {"data_digest", nullptr},
      {"train", nullptr},          {"test_samples", {{"mean", 1000}}},
      {"test_samples", 999.5},     {"majority_rate", {{"mean", 0.1}}},
      {"seconds_total", "36"},     {"train", {{"no_key", {{"accuracy", 0.1}}}}}};
  for (std::size_t i = 0; i < damages.size(); ++i) {
    const auto& [name, value] = damages[i];
    auto result = made_result({});
    result[name] = value;
    const auto run = folder / "runs" / fmt::format("bad{}", i);
    write_file(run / "config.toml", seed_config(2));
    write_file(run / "result.json", result.dump());
  }
  const auto written = write();
  EXPECT_EQ(written.runs, 1U);
  EXPECT_EQ(written.damaged, damages.size());
  for (std::size_t i = 0; i < damages.size(); ++i)
    EXPECT_THAT(text("report.md"), HasSubstr(fmt::format("runs/bad{}/result.json", i))) << damages[i].first;
}

TEST_F(Report, AFailedTrialIsShownWithItsReason) {
  add("good", {.config = seed_config(1)});
  write_file(folder / "runs/bad/config.toml", seed_config(2));
  write_file(folder / "runs/bad/sweep/state.json",
             R"({"state": "failed", "attempts": 1, "idle_attempts": 1, "step": -1, "exit_code": 3,
                 "reason": "loss is not finite", "seconds": 1.0})");
  write();
  EXPECT_THAT(text("report.md"), HasSubstr("exit code 3: loss is not finite"));
  EXPECT_THAT(text("report.md"), HasSubstr("output.log"));
}

// The folder of a trial is named by digits that tell nobody what it is.
TEST_F(Report, UnfinishedTrialsAreNamedByTheirSettings) {
  const std::string first = "0000000000000001", second = "0000000000000002";
  const auto trial = [](const std::string& id, const std::string& label) {
    return fmt::format(
        R"({{"id": "{0}", "hash": "{0}", "settings": [["run.seed", "1"]], "label": "{1}", "seconds": 2}})", id, label);
  };
  write_file(folder / "runs/grid/sweep.json",
             fmt::format(R"({{"name": "grid", "base": "b.toml", "base_text": "", "store": "{}", "max_hours": 0.0,
                              "cost_source": "a rule", "trials": [{}, {}]}})",
                         (folder / "store").string(), trial(first, "key.gamma=0.25"), trial(second, "key.gamma=0.5")));
  for (const auto& [id, correct] : {std::pair(first, 0.625), std::pair(second, 0.75)}) {
    auto evaluation = made_result({.correct = correct});
    evaluation.update({{"kind", "eval"}, {"epoch", 1}, {"global_step", 20}});
    write_file(folder / "store" / id / "config.toml", seed_config(1, "[train]\nepochs = 7\n"));
    write_file(folder / "store" / id / "metrics.jsonl", evaluation.dump() + "\n");
  }
  write();
  EXPECT_THAT(text("report.md"), HasSubstr("| unfinished | 1 | [key.gamma=0.25](../store/" + first + ") | 20 |"));
  EXPECT_THAT(text("report.md"),
              HasSubstr("- **correct key: 0.750** after epoch 2, with one key, of key.gamma=0.5, the highest so far"));
  EXPECT_THAT(text("report.md"), Not(HasSubstr("Training took")));
}

TEST_F(Report, PublishedFiguresAreJudged) {
  write_file(folder / "paper/row.toml", "[key]\ngamma = 2.0\n");
  write_file(folder / "paper/published.toml",
             "source = \"paper\"\n[row]\nrow = [\"m 8\", \"layers 0\", \"gamma 2\"]\n"
             "test_samples = 1000\nmajority_rate = 0.1\n"
             "correct_key.accuracy = [0.95, 0.65, 0.5]\naccept.correct_key.accuracy = 0.2\n");
  int seed = 0;
  for (const double value : {0.90, 0.92, 0.97})
    add(fmt::format("r{}", value), {.config = seed_config(++seed, "[key]\ngamma = 2.0\n"), .correct = value});
  add("other", {.config = seed_config(1), .correct = 0.95});
  write("paper/published.toml");
  const auto rows = parse_csv(text("groups.csv"));
  int judged = 0;
  for (std::size_t i = 1; i < rows.size(); ++i) {
    if (field(rows, i, "published").empty()) continue;
    ++judged;
    EXPECT_EQ(field(rows, i, "group"), "gamma 2.0");
    EXPECT_EQ(field(rows, i, "inside_range"), "yes no no");
    EXPECT_EQ(field(rows, i, "inside_prediction"), "yes yes no");  // .584 to .992
  }
  EXPECT_EQ(judged, 1);
  for (const char* row : {"| m 8 | correct key |", "| layers 0 | correct key |", "| gamma 2 | correct key |"})
    EXPECT_THAT(text("report.md"), HasSubstr(row));
}

TEST(PublishedRows, AreComparedWithTheSameMeasurementOnly) {
  const auto config = [](const std::string& eval) {
    return parse_config(fmt::format("[key]\ngamma = 2.0\n[eval]\n{}", eval), "ours.toml");
  };
  PublishedRow row;
  row.name = "row";
  row.config = config("");
  row.test_samples = 1000;
  const PublishedTable table{"paper", {row}};
  const nlohmann::json result{{"test_samples", 1000}, {"majority_rate", 0.1}};
  const auto matches = [&](const std::string& eval) {
    return match_published(table, config(eval), result).row != nullptr;
  };
  EXPECT_TRUE(matches("keys = 0\nevery_epochs = 5\ntrain = true\n"));
  EXPECT_TRUE(matches("families = [\"Gaussian\", \"one_hot\"]\n"));
  EXPECT_FALSE(matches("families = [\"one_hot\", \"gaussian\"]\n"));
  EXPECT_FALSE(matches("aug = true\n"));
}

TEST_F(Report, CaptionsNameAFamilyThatIsNotGaussian) {
  const auto add_tried = [&](const std::string& name, int seed, const std::string& family) {
    auto result = made_result({});
    result["wrong_family"] = family;
    write_file(folder / "runs" / name / "config.toml", seed_config(seed));
    write_file(folder / "runs" / name / "result.json", result.dump());
  };
  add_tried("a", 1, "gaussian");
  write();
  EXPECT_THAT(text("report.md"), Not(HasSubstr("Family of the wrong keys")));
  add_tried("a", 1, "one_hot");
  write();
  EXPECT_THAT(text("report.md"), HasSubstr("over keys. Family of the wrong keys: one_hot."));
  add_tried("b", 2, "one_hot");
  write();
  EXPECT_THAT(text("report.md"), HasSubstr("tried here. Family of the wrong keys: one_hot."));
}

TEST_F(Report, AFamilyTriedWithAKeyForEachBatchHasNoBestKey) {
  const auto write_families = [&](const std::string& keys) {
    for (const int seed : {1, 2}) {
      auto result = made_result({});
      result["families"] = {{"gaussian", made_key(0.125, 0.25, 0.25)}, {"one_hot", made_key(0.5, 0.75, 0.75)}};
      const auto run = folder / "runs" / fmt::format("{}", seed);
      write_file(run / "config.toml", seed_config(seed, fmt::format("[eval]\nkeys = {}\n", keys)));
      write_file(run / "result.json", result.dump());
    }
    write();
  };
  write_families("4");
  EXPECT_THAT(text("report.md"), HasSubstr("| one_hot | 0.5000 / 0.7500 |"));
  EXPECT_THAT(text("plots/families.dat"), HasSubstr("0.5 1 0.5 0.75 \n"));
  EXPECT_THAT(text("report.md"), Not(HasSubstr("alone where every batch")));
  write_families("0");
  EXPECT_THAT(text("report.md"), HasSubstr("| one_hot | 0.5000 |"));
  EXPECT_THAT(text("plots/families.dat"), HasSubstr("0.5 1 0.5 0.5 \n"));
  EXPECT_THAT(text("report.md"), HasSubstr("The mean alone where every batch had a key of its own"));
}

TEST_F(Report, PaperConfigurationsAndPublishedFiguresFit) {
  const auto table =
      load_published(std::filesystem::path(std::getenv("SPANKEY_SOURCE_DIR")) / "configs/paper/published.toml");
  EXPECT_EQ(table.rows.size(), 26U);
  std::size_t published = 0;
  for (const auto& row : table.rows) published += row.titles.size();
  EXPECT_EQ(published, 28U);  // one configuration of example 05 was published three times
  for (const auto& row : table.rows) {
    EXPECT_EQ(row.config.run.name, row.name);
    EXPECT_EQ(row.config.run.compat, Compat::reference);
    EXPECT_TRUE(row.figures.contains("correct_key.accuracy")) << row.name;
    EXPECT_TRUE(row.figures.contains("train.wrong_key.accuracy")) << row.name;
    nlohmann::json result{{"test_samples", row.test_samples}, {"majority_rate", row.majority_rate}};
    const auto match = match_published(table, row.config, result);
    ASSERT_NE(match.row, nullptr) << row.name;
    EXPECT_EQ(match.row->name, row.name);  // no two rows are the same configuration
    EXPECT_THAT(match.differences, testing::IsEmpty());
  }
}

TEST_F(Report, BadPublishedFileIsOneSentence) {
  add("x", {.config = seed_config(1)});
  write_file(folder / "paper/row.toml", "[key]\nm = 4\n");
  write_file(folder / "paper/published.toml", "[row]\nno_key.accuracy = \"high\"\n");
  EXPECT_ERROR(write("paper/published.toml"), ExitCode::bad_input, HasSubstr("published.toml:2: row.no_key.accuracy"));
  write_file(folder / "paper/other.toml", "[key]\nm = 5\n");
  for (const auto& [table, sentence] :
       {std::pair("[row]\nrow = [\"a\", 1]\n", "published.toml:2: row.row = [\"a\", 1]"),
        std::pair("[row]\nrow = \"a\"\nno_key.accuracy = [0.1, 0.2]\n", "row.no_key.accuracy has 2 values"),
        std::pair("[row]\nrow = \"a\"\n[other]\nrow = \"a\"\n", "another row has this name")}) {
    write_file(folder / "paper/published.toml", table);
    EXPECT_ERROR(write("paper/published.toml"), ExitCode::bad_input, HasSubstr(sentence));
  }
}

TEST_F(Report, NoRunIsAnError) {
  std::filesystem::create_directories(folder / "runs/empty");
  EXPECT_ERROR(write(), ExitCode::bad_input, HasSubstr("no run found"));
}

TEST_F(Report, HundredsOfRunsInOneTable) {
  for (int m = 1; m <= 60; ++m)
    for (int seed = 1; seed <= 4; ++seed)
      add(fmt::format("m{}_{}", m, seed),
          {.config = seed_config(seed, fmt::format("[key]\nm = {}\n", m)), .correct = 0.5 + 0.001 * m});
  EXPECT_EQ(write().runs, 240U);
  EXPECT_EQ(parse_csv(text("trials.csv")).size(), 241U);
  EXPECT_THAT(text("report.md"), HasSubstr("240 runs in 60 groups"));
}

// What a diagnosis leaves of a run: its page, with a figure of its own and one that names another place.
void write_diagnosis_page(const std::filesystem::path& run) {
  Document page{"Diagnostics", "small_cnn; step 7.", "Written by hand.", {}};
  page.sections.push_back({"Nearness that opens",
                           {Paragraph{"Half the accuracy at cosine 0.25."}, Figure{"Profile", "Drawn.", "own.svg"},
                            Figure{"Elsewhere", "Not drawn.", "../secret.svg"}}});
  write_file(run / "diagnose" / document_file, to_json_text(page));
  write_file(run / "diagnose/own.svg", "<svg viewBox=\"0 0 6 3\"><g id=\"own\"/></svg>");
  write_file(run / "secret.svg", "<svg viewBox=\"0 0 6 3\"><g id=\"secret\"/></svg>");
}

TEST_F(Report, TheDiagnosisOfARunIsPartOfItsPage) {
  add("a", {.config = seed_config(1)});
  write();
  EXPECT_THAT(text("report.md"), Not(HasSubstr("Diagnos")));
  write_diagnosis_page(folder / "runs/a");
  write();
  EXPECT_THAT(text("report.md"), HasSubstr("## Diagnosis\n\nsmall_cnn; step 7. Written by hand."));
  EXPECT_THAT(text("report.md"), HasSubstr("](../runs/a/diagnose/own.svg)"));
  EXPECT_THAT(text("index.html"), HasSubstr("Half the accuracy at cosine 0.25."));
  EXPECT_THAT(text("index.html"), HasSubstr("own\"/>"));
  for (const char* name : {"report.md", "index.html"}) EXPECT_THAT(text(name), Not(HasSubstr("secret"))) << name;
  // A page of several runs leaves their diagnoses out.
  add("b", {.config = seed_config(2)});
  write();
  EXPECT_THAT(text("report.md"), Not(HasSubstr("Nearness that opens")));
}

TEST_F(Report, ADamagedDiagnosisIsLeftOut) {
  add("a", {.config = seed_config(1)});
  write_file(folder / "runs/a/diagnose" / document_file, "{\"title\": 3}");
  EXPECT_EQ(write().runs, 1U);
  EXPECT_THAT(text("report.md"), Not(HasSubstr("Diagnos")));
}

// The price of entry is that of the cheapest seed. Of two groups that nothing opened, the one with the lower worst case
// stands first.
TEST_F(Report, AttackedGroupsAreRankedByThePriceOfEntry) {
  const auto gamma = [](int seed, double value) {
    return seed_config(seed, fmt::format("[key]\ngamma = {}\n", value));
  };
  add("cheap1", {.config = gamma(1, 0.25), .attacks = {{"O1", 0, 0.3}, {"K5", 10, 0.89}, {"S0", 10, 0.4}}});
  add("cheap2", {.config = gamma(2, 0.25), .attacks = {{"O1", 0, 0.3}, {"K5", 60, 0.88}, {"S0", 10, 0.5}}});
  add("dear", {.config = gamma(1, 0.5), .attacks = {{"K5", 10, 0.5}, {"K5", 60, 0.87}}});
  add("shut", {.config = gamma(1, 1.0), .attacks = {{"K5", 10, 0.5}, {"K5", 60, 0.6}}});
  add("better", {.config = gamma(1, 2.0), .attacks = {{"K5", 10, 0.2}, {"K5", 60, 0.55}}});
  write();
  const auto report = text("report.md");
  const auto section = report.substr(report.find("## Attacks"));
  EXPECT_THAT(section, HasSubstr("from 4 of 4 groups"));
  const auto place = [&](const char* group) { return section.find(fmt::format("| gamma {} ", group)); };
  EXPECT_LT(place("2.0"), place("1.0")) << section;
  EXPECT_LT(place("1.0"), place("0.5"));
  EXPECT_LT(place("0.5"), place("0.25"));
  EXPECT_THAT(section, HasSubstr("| 0.5500 | more than 60 | quick |"));
  EXPECT_THAT(section, HasSubstr("| 0.8900 | 10 | quick |"));
  EXPECT_THAT(report, HasSubstr("Not run in some groups: training from scratch."));
  const auto rows = parse_csv(text("trials.csv"));
  std::map<std::string, double> worst, free_key;
  for (std::size_t i = 1; i < rows.size(); ++i) {
    const std::string run = std::filesystem::path(field(rows, i, "run_directory")).filename();
    worst[run] = std::stod(field(rows, i, "verdict.worst.accuracy"));
    if (const auto one = field(rows, i, "attacks.free_key_10"); !one.empty()) free_key[run] = std::stod(one);
  }
  EXPECT_EQ(free_key, (std::map<std::string, double>{{"cheap1", 0.89}, {"dear", 0.5}, {"shut", 0.5}, {"better", 0.2}}));
  EXPECT_EQ(worst.at("cheap1"), 0.89);
  EXPECT_EQ(worst.at("better"), 0.8);  // without a key, rejection ignored: more than any attack got
}

TEST_F(Report, WhatWasNotRunIsSaid) {
  const auto gamma = [](double value) { return seed_config(1, fmt::format("[key]\ngamma = {}\n", value)); };
  add("a", {.config = gamma(0.25)});
  add("b", {.config = gamma(0.5)});
  write();
  EXPECT_THAT(text("report.md"), HasSubstr("Not run: vanilla twins, attacks, training from scratch."));
  EXPECT_THAT(text("report.md"), Not(HasSubstr("## Attacks")));
  add("b", {.config = gamma(0.5), .attacks = {{"K5", 10, 0.89}, {"S0", 10, 0.2}}});
  write();
  EXPECT_THAT(text("report.md"),
              HasSubstr("Not run: vanilla twins. Not run in some groups: attacks, training from scratch."));
  add("a", {.config = gamma(0.25), .attacks = {{"K5", 10, 0.89}, {"S0", 10, 0.2}}});
  write();
  EXPECT_THAT(text("report.md"), AllOf(HasSubstr("Not run: vanilla twins.\n"), Not(HasSubstr("in some groups"))));
}

TEST_F(Report, AttacksOfOtherWeightsAreLeftOut) {
  add("a", {.config = seed_config(1), .attacks = {{"K5", 10, 0.89}}, .attacked_weights = std::string(64, 'd')});
  add("b", {.config = seed_config(2)});
  write();
  EXPECT_THAT(text("report.md"), AllOf(Not(HasSubstr("## Attacks")), HasSubstr("attacks, training from scratch")));
}

// Groups are ordered by their names where these differ: m16 before m4.
TEST_F(Report, LinesLeadFromLeftToRight) {
  for (const int m : {4, 8, 16})
    add(fmt::format("r{}", m),
        {.config = fmt::format("[run]\nname = \"m{}\"\n[key]\nm = {}\n", m, m), .correct = 0.5 + m / 64.0});
  if (write().gnuplot_missing) GTEST_SKIP() << "gnuplot is not installed";
  EXPECT_THAT(text("plots/axis_key.m.dat"), StartsWith("4 0.5625 0.5625 0.5625 \n8 0.625 0.625 0.625 \n16 0.75 "));
}

TEST_F(Report, LayersStandSideBySideWithTheFewestFirst) {
  int number = 0;
  for (const char* layers : {"[0, 2]", "[2]", "[0]"})
    for (const double gamma : {0.5, 1.0})
      add(fmt::format("r{}", ++number), {.config = seed_config(1, fmt::format("[model]\nname = \"small_cnn\"\n[key]\n"
                                                                              "layers = {}\ngamma = {}\n",
                                                                              layers, gamma)),
                                         .correct = 0.9});
  if (write().gnuplot_missing) GTEST_SKIP() << "gnuplot is not installed";
  const auto commands = text("plots/axis_key.layers.gp");
  EXPECT_THAT(commands, HasSubstr("('[0]' 0, '[2]' 1, '[0, 2]' 2)"));
  EXPECT_THAT(commands, HasSubstr("yerrorbars"));
  EXPECT_THAT(commands, Not(HasSubstr("yerrorlines")));  // no line leads from one set of layers to another
}

TEST_F(Report, TheAttacksOnARunArePartOfItsPage) {
  add("a", {.config = seed_config(1), .attacks = {{"K5", 10, 0.89}}});
  Document page{.title = "Attacks", .summary = "Worst case: 0.8900.", .footer = "Written by hand.", .sections = {}};
  page.sections.push_back({"All rows", {Paragraph{"K5 stands here."}}});
  write_file(folder / "runs/a/attack" / document_file, to_json_text(page));
  write();
  EXPECT_THAT(text("report.md"), HasSubstr("## Attacks\n\nWorst case: 0.8900. Written by hand."));
  EXPECT_THAT(text("index.html"), HasSubstr("K5 stands here."));
  EXPECT_THAT(text("report.md"), HasSubstr("at most 0.890 without a valid key (attack K5"));
}

// A report through gnuplot over all that it draws: a grid with families, learning curves and a measured profile.
TEST_F(Report, EveryFigureIsDrawn) {
  for (const double gamma : {0.25, 0.5, 1.0})
    for (const int m : {4, 8})
      for (const int seed : {1, 2}) {
        const auto name = fmt::format("g{}_m{}_{}", gamma, m, seed);
        const MadeRun run{.config = seed_config(seed, fmt::format("[key]\ngamma = {}\nm = {}\n", gamma, m)),
                          .attacks = {{"K5", 1, 0.4, 0.3, 0.5}, {"K5", 10, gamma / 2}, {"S0", 10, 0.3}}};
        add(name, run);
        auto result = made_result(run);
        result["families"] = {{"gaussian", made_key(0.1, 0.2, 0.3)}, {"it's", made_key(0.4, 0.5, 0.6)}};
        write_file(folder / "runs" / name / "result.json", result.dump());
        auto evaluation = result;
        evaluation["kind"] = "eval";
        evaluation["epoch"] = 0;
        write_file(folder / "runs" / name / "metrics.jsonl",
                   "{\"kind\": \"step\", \"epoch\": 0, \"step\": 1, \"loss\": 1, \"ce\": 1, \"deny\": 2}\n" +
                       evaluation.dump() + "\n");
      }
  write_file(folder / "runs/g0.5_m8_1/diagnose/diagnose.json",
             R"({"acceptance": {"as_shipped": {"c50": 0.5, "guess_bits": 9,
                 "profile": [{"cosine": 0, "accuracy": 0.1}, {"cosine": 1, "accuracy": 0.9}]}}})");
  if (write().gnuplot_missing) GTEST_SKIP() << "gnuplot is not installed";
  for (const char* plot : {"runs_1", "axis_key.gamma", "heat_key.m_key.gamma", "families", "acceptance",
                           "accuracy_by_images", "loss", "learning"})
    for (const char* form : {".svg", "_narrow.svg"})
      EXPECT_TRUE(std::filesystem::exists(folder / "out/plots" / (std::string(plot) + form))) << plot;
  EXPECT_THAT(text("plots/heat_key.m_key.gamma.gp"), HasSubstr("set colorbox horizontal"));
  EXPECT_THAT(text("plots/loss.gp"), HasSubstr("set logscale y"));
  EXPECT_THAT(text("index.html"), HasSubstr("Accuracy over key.m and key.gamma"));
  EXPECT_THAT(text("report.md"), HasSubstr("| it's |"));
}

}  // namespace
}  // namespace spankey::test::report_test
