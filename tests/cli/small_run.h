// A run small enough to be killed and repeated many times: 64 steps, less than a second of them.
#pragma once

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <sys/types.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "base/file.h"
#include "support/program.h"
#include "support/temporary_folder.h"

namespace spankey::test {

inline constexpr const char* small_config = R"(
[data]
limit = 1024
[key]
layers = [0, 2]
[deny]
mode = "B"
[train]
epochs = 8
global_batch = 128
[eval]
keys = 2
[checkpoint]
every_steps = 3
[dist]
threads = 1
)";

inline constexpr int steps = 64;  // of small_config

class SmallRun : public testing::Test {
 protected:
  void SetUp() override { write("small.toml", small_config); }

  // Writes a file below the folder of the test, together with the folders above it.
  void write(const std::string& name, const std::string& bytes, std::ios::openmode mode = std::ios::trunc) const {
    const auto file = folder / name;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file, std::ios::binary | std::ios::out | mode) << bytes;
  }
  std::string content(const std::string& name) const { return read_text(folder / name); }

  std::vector<std::string> train(int ranks, const std::string& run, std::vector<std::string> more = {}) const {
    std::vector<std::string> arguments{"train", "small.toml", "--run-dir", run};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return on_ranks(ranks, arguments);
  }

  nlohmann::json result(const std::string& run) const {
    std::ifstream file(folder / (run + "/result.json"));
    return nlohmann::json::parse(file);
  }

  // Name, shape and SHA-256 of every tensor of the newest checkpoint: weights, buffers, optimiser.
  nlohmann::json tensors(const std::string& run) const {
    const auto outcome = test::run({program(), "inspect", run, "--json"}, folder.path());
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    return nlohmann::json::parse(outcome.out)["tensors"];
  }

  // metrics.jsonl without the figures that time decides.
  std::vector<nlohmann::json> metrics(const std::string& run) const {
    std::ifstream file(folder / (run + "/metrics.jsonl"));
    std::vector<nlohmann::json> lines;
    for (std::string line; std::getline(file, line);) {
      auto json = nlohmann::json::parse(line);
      for (const char* timed : {"samples_per_second", "step_ms_p50", "step_ms_p99", "time", "started_at"})
        json.erase(timed);
      lines.push_back(std::move(json));
    }
    return lines;
  }

  void expect_success(const std::vector<std::string>& command) const {
    const auto outcome = test::run(command, folder.path());
    EXPECT_EQ(outcome.exit_code, 0) << outcome.out << outcome.err;
  }

  // A mistake of the user: exit code 2 and one line on stderr, which holds `sentence`.
  void expect_refused(std::vector<std::string> arguments, const std::string& sentence) const {
    arguments.insert(arguments.begin(), program());
    const auto outcome = test::run(arguments, folder.path());
    EXPECT_EQ(outcome.exit_code, 2) << outcome.err;
    EXPECT_NE(outcome.err.find(sentence), std::string::npos) << outcome.err;
    EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
  }

  // The ranks that mpirun has started, in rank order.
  static std::vector<pid_t> ranks_of(const Child& child) { return children_of(child.pid()); }

  // Returns the step of the newest checkpoint of a run, 0 where there is none yet.
  int newest_step(const std::string& run) const {
    int newest = 0;
    std::error_code none;
    for (const auto& entry : std::filesystem::directory_iterator(folder / (run + "/checkpoints"), none))
      if (entry.path().extension() == ".h5")
        newest = std::max(newest, std::stoi(entry.path().stem().string().substr(5)));
    return newest;
  }

  // Lets the run get to `step`, or end.
  void wait_for_step(Child& child, const std::string& run, int step) const {
    while (child.running() && newest_step(run) < step) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }

  // Starts `run` with command(0), (1) and (2), each time to be killed as checkpoint 15, 30 or 45 is there; the number
  // of kills that were in time.
  int kill_thrice(const std::string& run, const std::function<std::vector<std::string>(int attempt)>& command) const {
    int kills = 0;
    for (int attempt = 0; attempt < 3; ++attempt) {
      Child child(command(attempt), folder.path());
      const auto marker = folder / (run + "/checkpoints/step_000000" + std::to_string(15 * (attempt + 1)) + ".h5");
      while (child.running() && !std::filesystem::exists(marker))
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      if (!child.running()) break;
      child.kill_tree();
      child.wait();
      ++kills;
    }
    return kills;
  }

  TemporaryFolder folder;
};

}  // namespace spankey::test
