// The sweeps of the paper's tables, configs/sweeps/paper_01.toml to paper_06.toml.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "support/temporary_folder.h"
#include "sweep/plan.h"

namespace spankey::paper_sweeps_test {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::SizeIs;

std::filesystem::path source(const std::string& path) {
  return std::filesystem::path(std::getenv("SPANKEY_SOURCE_DIR")) / path;
}

SweepFile table_of_paper(int table) {
  return load_sweep_file(source(fmt::format("configs/sweeps/paper_{:02}.toml", table)));
}

// A few samples in the shape of a published set.
void save_samples(const std::filesystem::path& file, const std::vector<std::int64_t>& shape) {
  DatasetContent content;
  content.sample_shape = shape;
  content.source = "made for a test";
  for (int label = 0; label < 10; ++label) content.class_names.push_back(std::to_string(label));
  for (auto* split : {&content.train, &content.test})
    for (std::int64_t label = 0; label < 10; ++label) {
      split->labels.push_back(label);
      split->images.resize(split->images.size() + static_cast<std::size_t>(shape[0] * shape[1] * shape[2]));
      for (std::size_t i = 0; i < 50; ++i) split->images[split->images.size() - 1 - i] = static_cast<std::uint8_t>(i);
    }
  Dataset::in_memory(std::move(content))->save(file);
}

// The overrides of a trial as the command line takes them. Settings that come first stand first.
std::vector<std::string> overrides(const Settings& fixed, const Settings& varied) {
  std::vector<std::string> texts;
  for (const auto* settings : {&fixed, &varied})
    for (const auto& [key, value] : *settings) texts.push_back(key + "=" + value);
  return texts;
}

std::string value_of(const Settings& settings, const std::string& key) {
  for (const auto& setting : settings)
    if (setting.key == key) return setting.value;
  return "";
}

std::string unquoted(const std::string& text) {
  return text.size() < 2 ? text : text.substr(1, text.size() - 2);
}

// Rows by name, in the order of the file. The seeds of each are the same.
std::vector<std::string> rows(const SweepFile& file) {
  std::vector<std::string> names;
  for (const auto& trial : expand(file.grid)) {
    const auto name = unquoted(value_of(trial, "run.name"));
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  }
  return names;
}

TEST(PaperSweeps, EachPlansItsRowsTimesItsSeeds) {
  const test::TemporaryFolder folder;
  save_samples(folder / "grey.h5", {1, 28, 28});
  save_samples(folder / "colour.h5", {3, 32, 32});
  const std::map<int, std::pair<std::string, std::size_t>> expected = {
      {1, {"builtin:argmax", 2 * 5}}, {2, {"grey.h5", 2 * 5}},  {3, {"grey.h5", 2 * 3}},
      {4, {"colour.h5", 12 * 3}},     {5, {"grey.h5", 12 * 3}}, {6, {"colour.h5", 3}}};
  for (const auto& [table, data_and_trials] : expected) {
    auto file = table_of_paper(table);
    const auto& [data, trials] = data_and_trials;
    const auto path = data.starts_with("builtin:") ? data : (folder / data).string();
    for (auto& setting : file.grid.fixed)
      if (setting.key == "data.file") setting.value = fmt::format("\"{}\"", path);
    const auto plan = make_plan(file, {.directory = folder / "d"});
    EXPECT_THAT(plan.trials, SizeIs(trials)) << table;
    EXPECT_TRUE(plan.merged.empty()) << table;
    EXPECT_TRUE(plan.notes.empty()) << table;
    std::set<std::string> names;
    for (const auto& trial : plan.trials) names.insert(trial_config(plan, trial).run.name);
    EXPECT_EQ(names.size() * (table <= 2 ? 5U : 3U), trials) << table;
  }
}

TEST(PaperSweeps, ARowIsTheConfigurationThatItIsNamedAfter) {
  std::set<std::string> seen;
  for (int table = 1; table <= 6; ++table) {
    const auto file = table_of_paper(table);
    for (const auto& trial : expand(file.grid)) {
      const auto ours = load_config(file.base, overrides(file.grid.fixed, trial));
      const auto name = ours.run.name;
      EXPECT_TRUE(name.starts_with(fmt::format("{:02}_", table))) << name;
      seen.insert(name);
      // A sweep also sets the file and one thread. That of example 03 evaluates less often, and that of example 05
      // leaves the training split out.
      std::vector<std::string> beside = {fmt::format("run.seed={}", ours.run.seed), "data.file=" + ours.data.file};
      if (table != 4 && table != 6) beside.push_back("dist.threads=1");
      if (table == 3) beside.push_back("eval.every_epochs=5");
      if (table == 5) beside.push_back("eval.train=false");
      const auto paper = load_config(source(fmt::format("configs/paper/{}.toml", name)), beside);
      EXPECT_EQ(config_hash(ours, "data"), config_hash(paper, "data")) << name;
      const auto other = load_config(file.base, {"key.gamma=0.125"});
      EXPECT_NE(config_hash(other, "data"), config_hash(paper, "data")) << name;
    }
  }
  std::set<std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(source("configs/paper")))
    if (entry.path().filename() != "published.toml") files.insert(entry.path().stem().string());
  EXPECT_EQ(seen, files);
}

TEST(PaperSweeps, RowsHaveTheirNames) {
  EXPECT_THAT(rows(table_of_paper(1)), ElementsAre("01_add", "01_mul"));
  EXPECT_THAT(rows(table_of_paper(3)), ElementsAre("03_add", "03_mul"));
  const auto fourth = rows(table_of_paper(4));
  for (const char* name : {"04_add", "04_mul", "04_deny_cplus", "04_abc_none", "04_abc_a", "04_abc_b", "04_abc_c"})
    EXPECT_THAT(fourth, Contains(name));
  EXPECT_THAT(rows(table_of_paper(6)), ElementsAre("06_vit_mode_b"));
}

// Hash and digest of the data of each trial, as reports of earlier versions recorded them.
std::map<std::string, std::string> recorded_hashes(const std::string& page) {
  std::ifstream file(source(fmt::format("docs/results/{}/trials.csv", page)));
  std::string line;
  std::map<std::string, std::string> digests;
  constexpr std::size_t digits = 64;
  const auto is_digest = [](const std::string& text) {
    return text.size() == digits && text.find_first_not_of("0123456789abcdef") == std::string::npos;
  };
  while (std::getline(file, line)) {
    std::vector<std::string> found;
    for (std::size_t begin = 0; begin != std::string::npos;) {
      const auto end = line.find(',', begin);
      const auto field = line.substr(begin, end == std::string::npos ? end : end - begin);
      if (is_digest(field)) found.push_back(field);
      begin = end == std::string::npos ? end : end + 1;
    }
    if (found.size() == 3) digests[found[0]] = found[1];  // hash, data_digest, weights_sha256
  }
  return digests;
}

// Whoever has these trials in a store shall not have to train them again.
TEST(PaperSweeps, TrialsThatWereRunBeforeKeepTheirHashes) {
  const std::map<int, std::pair<std::string, std::size_t>> pages = {
      {1, {"example_01", 10}}, {2, {"example_02", 10}}, {5, {"mnist_mode_b_ablation", 36}}};
  for (const auto& [table, page] : pages) {
    const auto recorded = recorded_hashes(page.first);
    ASSERT_THAT(recorded, SizeIs(page.second));
    const auto file = table_of_paper(table);
    for (const auto& trial : expand(file.grid)) {
      const auto config = load_config(file.base, overrides(file.grid.fixed, trial));
      const auto hash = config_hash(config, recorded.begin()->second);
      EXPECT_TRUE(recorded.contains(hash)) << config.run.name << " with seed " << config.run.seed << ": " << hash;
    }
  }
}

}  // namespace
}  // namespace spankey::paper_sweeps_test
