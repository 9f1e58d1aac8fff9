#include "record/sweep_queue.h"

#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cctype>
#include <chrono>
#include <fstream>
#include <sstream>

#include "base/run_program.h"
#include "base/text.h"

namespace spankey {
namespace {

std::vector<std::string> job_ids(const std::filesystem::path& directory) {
  std::vector<std::string> ids;
  std::ifstream file(directory / "slurm" / "jobs");
  const auto is_digit = [](unsigned char c) { return std::isdigit(c) != 0; };
  for (std::string line; std::getline(file, line);)
    if (!line.empty() && std::all_of(line.begin(), line.end(), is_digit)) ids.push_back(line);
  return ids;
}

}  // namespace

std::string SweepQueue::text() const {
  if (!submitted) return {};
  if (!fault.empty()) return fault;
  std::vector<std::string> parts, reasons;
  for (const auto& [reason, count] : waits) reasons.push_back(escaped(reason));
  for (const auto& [state, count] : jobs)
    parts.push_back(fmt::format(
        "{} {}{}", count, escaped(state),
        state == "pending" && !reasons.empty() ? fmt::format(" ({})", fmt::join(reasons, ", ")) : std::string()));
  return parts.empty() ? "no job is queued" : fmt::format("{}", fmt::join(parts, ", "));
}

SweepQueue parse_squeue(std::string_view printed) {
  SweepQueue queue;
  queue.submitted = true;
  std::istringstream lines{std::string(printed)};
  for (std::string line; std::getline(lines, line);) {
    const auto bar = line.find('|');
    auto state = line.substr(0, bar);
    std::transform(state.begin(), state.end(), state.begin(), [](unsigned char c) { return std::tolower(c); });
    if (state.empty()) continue;
    ++queue.jobs[state];
    if (state == "pending" && bar != std::string::npos) ++queue.waits[line.substr(bar + 1)];
  }
  return queue;
}

SweepQueue ask_queue(const std::filesystem::path& directory) {
  const auto ids = job_ids(directory);
  if (ids.empty()) return {};
  constexpr std::chrono::seconds patience{5};  // squeue waits long for a controller that is down
  const auto squeue =
      run_program({"squeue", "-h", "-r", "-j", fmt::format("{}", fmt::join(ids, ",")), "-o", "%T|%r"}, patience);
  SweepQueue queue;
  queue.submitted = true;
  if (squeue.exit_code == 0) return parse_squeue(squeue.out);
  if (squeue.err.find("Invalid job id") != std::string::npos) return queue;  // Slurm has forgotten them
  queue.fault = squeue.missing()   ? "squeue is not installed here"
                : squeue.timed_out ? fmt::format("squeue has not answered within {} s", patience.count())
                                   : "squeue: " + escaped(squeue.complaint());
  return queue;
}

nlohmann::json to_json(const SweepQueue& queue) {
  if (!queue.submitted) return {};
  nlohmann::json json{{"jobs", queue.jobs}, {"waits", queue.waits}};
  if (!queue.fault.empty()) json["fault"] = queue.fault;
  return json;
}

}  // namespace spankey
