// The real program under faults, seen from outside. Whatever happens, a run ends in order and a restart ends with the
// undisturbed run's bits.
#pragma once

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <vector>

#include "cli/small_run.h"
#include "support/program.h"
#include "train/checkpoint.h"

namespace spankey::test {

struct Fault {
  std::string prefix, action, calls;
  int at = 0;
  std::string log = {};
  int seconds = 0;  // of a stall
};

// A small run of the real program, and what is known of it from outside.
class FaultyRun : public SmallRun {
 protected:
  // The ranks get the injector, mpirun does not; the fault is rank 0's, which alone writes.
  std::vector<std::string> under_fault(std::vector<std::string> command, const Fault& fault) const {
    const auto place = std::find(command.begin(), command.end(), program());
    std::vector<std::string> environment{"env",
                                         std::string("LD_PRELOAD=") + SPANKEY_FAULTS_LIBRARY,
                                         "ASAN_OPTIONS=verify_asan_link_order=0",
                                         "SPANKEY_FAULT_PREFIX=" + fault.prefix,
                                         "SPANKEY_FAULT_AT=" + std::to_string(fault.at),
                                         "SPANKEY_FAULT_ACTION=" + fault.action,
                                         "SPANKEY_FAULT_SECONDS=" + std::to_string(fault.seconds),
                                         "SPANKEY_FAULT_CALLS=" + fault.calls};
    if (place != command.begin()) environment.emplace_back("SPANKEY_FAULT_RANK=0");
    if (!fault.log.empty()) environment.push_back("SPANKEY_FAULT_LOG=" + fault.log);
    command.insert(place, environment.begin(), environment.end());
    return command;
  }

  std::string absolute(const std::string& name) const { return (folder / name).string() + "/"; }

  int lines_of(const std::string& name) const {
    std::ifstream file(folder / name);
    return static_cast<int>(std::count(std::istreambuf_iterator<char>(file), {}, '\n'));
  }

  // Returns the step of the last whole line of metrics.jsonl, 0 where there is none.
  int metrics_step(const std::string& run) const {
    std::ifstream file(folder / (run + "/metrics.jsonl"));
    int step = 0;
    for (std::string line; std::getline(file, line);)
      if (const auto json = nlohmann::json::parse(line, nullptr, false); json.is_object())
        step = json.value("global_step", 0);
    return step;
  }
  std::filesystem::file_time_type metrics_time(const std::string& run) const {
    std::error_code none;
    return std::filesystem::last_write_time(folder / (run + "/metrics.jsonl"), none);
  }

  // Trains on one rank until the checkpoint of `step` is there, then kills it.
  void train_and_kill(const std::string& run, int step, const std::vector<std::string>& more = {}) const {
    Child child(train(1, run, more), folder.path());
    wait_for_step(child, run, step);
    child.kill_tree();
    child.wait();
  }

  Checkpoint newest_checkpoint(const std::string& run) const {
    const auto found = newest_valid_checkpoint(folder / (run + "/checkpoints"));
    if (!found) throw std::runtime_error("no checkpoint");
    return decode_checkpoint(found->bytes, found->path.string());
  }

  int litter(const std::string& run) const {
    int count = 0;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(folder / run))
      count += entry.path().extension() == ".tmp";
    return count;
  }

  // On a small file system of its own; false where mounting is not allowed.
  bool mount_small(const std::string& name, const std::string& size) const {
    std::filesystem::create_directory(folder / name);
    return test::run({"mount", "-t", "tmpfs", "-o", "size=" + size, "tmpfs", (folder / name).string()}, folder.path())
               .exit_code == 0;
  }
};

}  // namespace spankey::test
