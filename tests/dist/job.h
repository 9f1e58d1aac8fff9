// Real jobs of several processes, for the tests of how they end.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <fstream>
#include <iterator>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "support/program.h"
#include "support/temporary_folder.h"

namespace spankey::test {

inline constexpr int timeout_seconds = 3;  // of the watchdog
inline constexpr int margin_seconds = 4;   // for the launcher and a busy machine
inline constexpr int ranks = 3;

// A small parallel program (job_helper.cpp) under mpiexec.
class Job : public testing::Test {
 protected:
  std::vector<std::string> command(const std::string& way, const std::string& timeout, int size = ranks) const {
    return {SPANKEY_MPIEXEC, "-n", std::to_string(size), SPANKEY_JOB_HELPER, way, timeout};
  }

  // A job in the middle of its steps, its ranks known by `pids_`.
  Child& start_training(const std::string& timeout = std::to_string(timeout_seconds),
                        const std::string& way = "train") {
    child_ = std::make_unique<Child>(command(way, timeout), folder_.path());
    for (int rank = 0; rank < ranks; ++rank) {
      const auto path = folder_ / ("rank" + std::to_string(rank) + ".pid");
      pid_t pid = 0;
      for (int i = 0; i < 3000 && pid == 0; ++i) {
        std::ifstream(path) >> pid;
        if (pid == 0) std::this_thread::sleep_for(std::chrono::milliseconds(10));
      }
      if (pid == 0) throw std::runtime_error("the job does not start");
      pids_.push_back(pid);
    }
    return *child_;
  }

  // The ranks that still exist.
  int left_over() const {
    return static_cast<int>(std::count_if(pids_.begin(), pids_.end(), [](pid_t pid) {
      const char state = state_of("/proc/" + std::to_string(pid));
      return state != 0 && state != 'Z';
    }));
  }

  bool all_gone_within(std::chrono::seconds limit) const {
    const auto deadline = std::chrono::steady_clock::now() + limit;
    while (left_over() > 0 && std::chrono::steady_clock::now() < deadline)
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    return left_over() == 0;
  }

  std::string log_of(int rank) const {
    std::ifstream file(folder_ / ("rank" + std::to_string(rank) + ".log"));
    return {std::istreambuf_iterator<char>(file), {}};
  }

  TemporaryFolder folder_;
  std::vector<pid_t> pids_;
  std::unique_ptr<Child> child_;
};

}  // namespace spankey::test
