// Commands of the real program, on the CPU and on the stand-in, with a network that has learnt and one of zeros.
#pragma once

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <chrono>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "support/program.h"
#include "support/temporary_folder.h"

namespace spankey::test {

class CommandsOnStandin : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = std::make_unique<TemporaryFolder>();
    std::ofstream(*folder_ / "small.toml") << "[train]\nepochs = 1\n[data]\nlimit = 256\n";
    train("trained", {});
    write_zeros_like("trained", "zeros.safetensors");
    // A rate that float32 cannot hold leaves the weights as they are.
    train("zeros", {"--init", "zeros.safetensors", "optim.lr=1e-46"});
  }
  static void TearDownTestSuite() { folder_.reset(); }

  // The line of SPANKEY_STANDIN_LOG.
  struct Log {
    long long launches = 0, replays = 0, host_waits = 0, copies_to_host = 0, peak = 0, violations = 0;
  };
  struct Outcome {
    std::string on_cpu, on_standin;  // standard output
    Log log;
  };

  static void train(const std::string& run, const std::vector<std::string>& more) {
    std::vector<std::string> command{
        program(),           "train",       "small.toml",     "--run-dir",       run, "deny.mode=B",
        "key.layers=[0, 2]", "eval.keys=1", "dist.threads=1", "train.device=cpu"};
    command.insert(command.end(), more.begin(), more.end());
    succeed(command);
  }

  static Outcome on_standin(const std::string& command, const std::string& run, const std::vector<std::string>& more,
                            int seconds = 100) {
    Outcome outcome;
    const auto file = *folder_ / "log";
    std::filesystem::remove(file);
    outcome.on_standin = succeed(words(command, run, "cuda", more), seconds,
                                 {"env", "SPANKEY_STANDIN_LOG=" + file.string(), SPANKEY_STANDIN_FOLDER "/run"});
    std::ifstream in(file);
    std::string line;
    std::getline(in, line);
    auto& log = outcome.log;
    EXPECT_EQ(
        std::sscanf(line.c_str(),
                    "launches %lld, replays %lld, host waits %lld, copies to the host %lld, peak MiB %lld, "
                    "violations %lld",
                    &log.launches, &log.replays, &log.host_waits, &log.copies_to_host, &log.peak, &log.violations),
        6)
        << line;
    return outcome;
  }

  static Outcome both(const std::string& command, const std::string& run, const std::vector<std::string>& more,
                      int seconds = 100) {
    auto outcome = on_standin(command, run, more, seconds);
    outcome.on_cpu = succeed(words(command, run, "cpu", more), seconds);
    return outcome;
  }

  static void expect_sound(const Log& log, long long most_copies_to_host) {
    std::printf("launches %lld, waits of the host %lld, copies to the host %lld, at most %lld\n", log.launches,
                log.host_waits, log.copies_to_host, most_copies_to_host);
    EXPECT_GT(log.launches, 0);
    EXPECT_EQ(log.violations, 0);
    EXPECT_LE(log.copies_to_host, most_copies_to_host);
  }

  // The rows of an attack's report without their times, by attack and budget. The order of the report is that of the
  // figures.
  static std::map<std::string, nlohmann::json> rows_of(const std::string& report) {
    std::map<std::string, nlohmann::json> rows;
    const auto whole = nlohmann::json::parse(report);
    for (auto row : whole.at("rows")) {
      row.at("cost").erase("seconds");
      row.erase("gain_over_scratch");
      rows.emplace(row.at("id").get<std::string>() + " " + row.at("budget").dump(), row);
    }
    return rows;
  }

 private:
  static std::vector<std::string> words(const std::string& command, const std::string& run, const std::string& device,
                                        const std::vector<std::string>& more) {
    std::vector<std::string> all{program(), command, run};
    all.insert(all.end(), more.begin(), more.end());
    if (command == "predict")
      all.insert(all.end(), {"--device", device});
    else
      all.insert(all.end(), {"--out", command + "_" + device + "_" + run, "train.device=" + device});
    return all;
  }

  static std::string succeed(std::vector<std::string> command, int seconds = 100,
                             const std::vector<std::string>& before = {}) {
    command.insert(command.begin(), before.begin(), before.end());
    const auto outcome = test::run(command, folder_->path(), std::chrono::seconds(seconds));
    EXPECT_EQ(outcome.exit_code, 0) << outcome.out << outcome.err;
    return outcome.out;
  }

  // A safetensors file begins with the length of its head, little-endian. Behind the head are the numbers.
  static void write_zeros_like(const std::string& run, const std::string& file) {
    succeed({program(), "export", run, "--out", file});
    std::ifstream in(*folder_ / file, std::ios::binary);
    std::string bytes{std::istreambuf_iterator<char>(in), {}};
    std::uint64_t head = 0;
    std::memcpy(&head, bytes.data(), sizeof head);
    const auto numbers = sizeof head + head;
    bytes.replace(numbers, std::string::npos, bytes.size() - numbers, '\0');
    std::ofstream(*folder_ / file, std::ios::binary) << bytes;
  }

  inline static std::unique_ptr<TemporaryFolder> folder_;
};

}  // namespace spankey::test
