#include "diagnose/diagnose.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gmock/gmock.h>

#include <cmath>
#include <thread>

#include "base/file.h"
#include "dist/backend.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"
#include "support/thread_communicator.h"
#include "untrained_run.h"

namespace spankey::diagnose_test {
namespace {

using test::mode_b;
using test::untrained;

nlohmann::json diagnose_on(int ranks, const std::string& config, const DiagnoseOptions& options) {
  auto communicators = make_thread_communicators(ranks, 120);
  std::vector<nlohmann::json> figures(static_cast<std::size_t>(ranks));
  std::vector<std::thread> threads;
  for (std::size_t r = 0; r < figures.size(); ++r)
    threads.emplace_back([&, r] {
      auto run = untrained(config);
      figures[r] = diagnose(run, options, *communicators[r]).figures;
    });
  for (auto& thread : threads) thread.join();
  for (const auto& one : figures) EXPECT_TRUE(one == figures[0]);
  return figures[0];
}

// Equal up to rounding: `allowed` of the larger one.
void expect_near(const nlohmann::json& a, const nlohmann::json& b, double allowed, const std::string& where) {
  ASSERT_EQ(a.is_number(), b.is_number()) << where;
  if (a.is_number()) {
    const double x = a.get<double>(), y = b.get<double>();
    EXPECT_NEAR(x, y, allowed * std::max(std::abs(x), std::abs(y)) + 1e-12) << where;
    return;
  }
  ASSERT_EQ(a.size(), b.size()) << where;
  if (a.is_object()) {
    for (const auto& [key, value] : a.items()) expect_near(value, b.at(key), allowed, where + "/" + key);
  } else if (a.is_array()) {
    for (std::size_t i = 0; i < a.size(); ++i) expect_near(a[i], b[i], allowed, where + "/" + std::to_string(i));
  } else {
    EXPECT_EQ(a, b) << where;
  }
}

TEST(Diagnose, SameOnAnyNumberOfRanks) {
  at::set_num_threads(1);
  const DiagnoseOptions options{.samples = 150, .keys = 3};
  const auto one = diagnose_on(1, mode_b, options), two = diagnose_on(2, mode_b, options);
  expect_near(one, two, 1e-9, "");
  // Control: other samples are other figures.
  const auto other = diagnose_on(2, mode_b, {.samples = 149, .keys = 3});
  EXPECT_NE(one.at("margin_tail").at("class_logits").at("measured").at("error"),
            other.at("margin_tail").at("class_logits").at("measured").at("error"));
}

// Figures that can be had by plain means: samples evenly over the split, normalised by hand.
TEST(Diagnose, AccuraciesAreThoseOfTheNetwork) {
  at::set_num_threads(1);
  auto run = untrained(mode_b);
  const auto communicator = make_communicator(Backend::self, 30);
  constexpr std::int64_t n = 128;
  const auto figures = diagnose(run, {.samples = n, .keys = 2}, *communicator).figures;
  const auto& info = run.experiment.dataset->info();
  const auto& split = run.experiment.dataset->test();
  at::Tensor x = at::empty({n, 1, 28, 28}), labels = at::empty({n}, at::kLong);
  for (std::int64_t i = 0; i < n; ++i) {
    const auto sample = static_cast<std::size_t>(i * split.size / n);
    labels[i] = split.labels[sample];
    for (std::size_t p = 0; p < 784; ++p)
      x.mutable_data_ptr<float>()[static_cast<std::size_t>(i) * 784 + p] =
          (static_cast<float>(split.images[sample * 784 + p]) / 255 - info.mean[0]) / info.std[0];
  }
  const at::NoGradGuard no_grad;
  const at::Tensor logits = run.experiment.model->forward(x, Injection::none()).logits;
  const auto share = [](const at::Tensor& hits) { return hits.to(at::kDouble).mean().item<double>(); };
  const auto& absorption = figures.at("absorption");
  const auto accuracy = [&](const char* view) { return absorption.at(view).at("no_key_accuracy").get<double>(); };
  EXPECT_NEAR(accuracy("as_shipped"), share(logits.argmax(1).eq(labels)), 1e-9);
  EXPECT_NEAR(accuracy("class_logits"), share(logits.narrow(1, 0, 10).argmax(1).eq(labels)), 1e-9);
}

TEST(Diagnose, HonestAboutTheLinearModel) {
  at::set_num_threads(1);
  auto run = untrained(test::added_keys);
  const auto communicator = make_communicator(Backend::self, 30);
  const auto figures = diagnose(run, {.samples = 64, .keys = 4}, *communicator).figures;
  EXPECT_EQ(figures.at("energy_split").size(), 2U);  // a key for each layer
  EXPECT_EQ(figures.at("weights").size(), 2U);
  EXPECT_TRUE(figures.at("multiplier").is_null());
  EXPECT_TRUE(figures.at("reject_bias").is_null());
  EXPECT_FALSE(figures.at("margin_tail").contains("as_shipped"));
  EXPECT_TRUE(figures.at("margin_tail").at("class_logits").at("predicted").at("hoeffding").is_null());
  // Untrained weights know nothing of the basis.
  for (const auto& row : figures.at("weights")) EXPECT_NEAR(row.at("index").get<double>(), 1.0, 0.5) << row;
  const auto text = to_markdown(describe_diagnosis(figures));
  EXPECT_NE(text.find("None of the predictions bounds the error of the network"), std::string::npos);
  auto locked = figures, open = figures;
  locked.at("acceptance").at("class_logits")["c50"] = 0.25;
  open.at("acceptance").at("class_logits")["c50"] = 0.0;
  const std::string sentence = "not a security level: gradients bypass it";
  EXPECT_NE(to_markdown(describe_diagnosis(locked)).find(sentence), std::string::npos);
  EXPECT_EQ(to_markdown(describe_diagnosis(open)).find(sentence), std::string::npos);
}

TEST(Diagnose, WritesOnePageInEveryForm) {
  at::set_num_threads(1);
  auto run = untrained(mode_b);
  const auto communicator = make_communicator(Backend::self, 30);
  const auto diagnosis = diagnose(run, {.samples = 32, .keys = 2}, *communicator);
  const test::TemporaryFolder folder;
  const bool drawn = write_diagnosis(diagnosis, folder / "out");
  EXPECT_EQ(nlohmann::json::parse(read_text(folder / "out/diagnose.json")), diagnosis.figures);
  const auto markdown = read_text(folder / "out/diagnose.md"), html = read_text(folder / "out/diagnose.html");
  for (const auto& section : describe_diagnosis(diagnosis.figures).sections) {
    EXPECT_THAT(markdown, testing::HasSubstr("## " + section.title + "\n"));
    EXPECT_THAT(html, testing::HasSubstr(">" + section.title + "</a></h2>"));
  }
  EXPECT_THAT(html, testing::Not(testing::HasSubstr("src=\"")));  // nothing from elsewhere
  const auto kept = from_json_text(read_text(folder / "out/page.json"), "page.json");
  EXPECT_EQ(to_markdown(kept), markdown);
  std::size_t plots = 0, pictures = 0;
  for (const auto& [section, of_section] : diagnosis.plots)
    for (const auto& plot : of_section) {
      ++plots;
      EXPECT_TRUE(std::filesystem::exists(folder / ("out/" + plot.name + ".gp"))) << plot.name;
    }
  EXPECT_EQ(plots, 7U);  // one a section that draws, margin_tail one for each way to read the answers
  for (auto at = html.find("<svg"); at != std::string::npos; at = html.find("<svg", at + 1)) ++pictures;
  EXPECT_EQ(pictures, drawn ? 2 * plots : 0U);  // a wide form and a narrow one
}

TEST(Diagnose, RefusesARunWithoutKeys) {
  auto run = untrained("twin = 'vanilla'\n");
  const auto communicator = make_communicator(Backend::self, 30);
  EXPECT_ERROR(diagnose(run, {}, *communicator), ExitCode::bad_input, testing::HasSubstr("train.twin"));
}

}  // namespace
}  // namespace spankey::diagnose_test
