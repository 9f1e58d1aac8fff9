#include "report/run_record.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <set>

#include "base/error.h"
#include "base/file.h"
#include "base/hdf5_file.h"
#include "base/lease.h"
#include "base/log.h"
#include "record/attack_record.h"
#include "record/early_stop.h"
#include "record/halving.h"
#include "record/ledger.h"
#include "record/run_directory.h"
#include "record/run_progress.h"
#include "record/sweep_plan.h"
#include "record/verdict.h"

namespace spankey {
namespace {

namespace fs = std::filesystem;

bool is_there(const fs::path& path) {
  std::error_code error;
  return fs::exists(path, error);
}

// The state of a trial that its workers write, see record/ledger.h.
bool is_trial(const fs::path& directory) {
  return is_there(directory / "sweep" / "state.json");
}

bool is_run(const fs::path& directory) {
  return is_there(RunDirectory{directory}.config()) || is_there(RunDirectory{directory}.result()) ||
         is_trial(directory);
}

// Checks for everything besides the figures that a report needs in a result.
void require_facts(const nlohmann::json& result) {
  if (!result.value("seconds_total", nlohmann::json()).is_number()) fail_input("seconds_total is missing or no number");
  if (!result.value("config_hash", nlohmann::json()).is_string()) fail_input("config_hash is missing or no text");
  // Results of earlier versions lack some of these.
  for (const char* name : {"data_digest", "weights_sha256", "device"})
    if (const auto text = result.find(name); text != result.end() && !text->is_string())
      fail_input("{} is no text", name);
}

// The digest of the data that the run was trained on, from its result or from its newest checkpoint.
std::string find_data_digest(const RunDirectory& run, const nlohmann::json& result) {
  const auto recorded = result.is_object() ? result.value("data_digest", std::string()) : std::string();
  if (!recorded.empty()) return recorded;
  try {
    const auto files = list_checkpoints(run.checkpoints());
    return files.empty() ? std::string() : h5::File::open(files.front()).string_attribute("/", "data_digest");
  } catch (const Error&) {
    return {};
  }
}

class Collector {
 public:
  explicit Collector(RunCollection& collection) : collection_(collection) {}

  // `name` is the name of a requested directory, for people. The name of a sweep replaces it.
  void visit(const fs::path& directory, std::string* name = nullptr) {
    if (is_there(plan_path(directory))) return add_sweep(directory, name);
    if (is_run(directory)) return add_run(directory, nullptr, nullptr);
    std::error_code error;
    const auto here = fs::canonical(directory, error);
    if (error || !visited_.insert(here).second) return;
    std::vector<fs::path> folders;
    for (const auto& entry : fs::directory_iterator(directory, error))
      if (entry.is_directory(error) && !leads_upwards(entry, here)) folders.push_back(entry.path());
    std::sort(folders.begin(), folders.end());
    for (const auto& folder : folders) visit(folder);
  }

 private:
  // A link to a folder that contains `here`. Its other content was not asked for.
  static bool leads_upwards(const fs::directory_entry& entry, const fs::path& here) {
    std::error_code error;
    if (!entry.is_symlink(error)) return false;
    const auto target = fs::canonical(entry.path(), error);
    return error || std::mismatch(target.begin(), target.end(), here.begin(), here.end()).first == target.end();
  }

  void add_sweep(const fs::path& directory, std::string* name) {
    const auto plan = load_plan(directory);
    if (name) *name = plan.name;
    std::optional<Halving> halving;
    if (plan.halving) halving.emplace(plan).refresh();
    for (std::size_t i = 0; i < plan.trials.size(); ++i) {
      const auto& trial = plan.trials[i];
      add_run(plan.store / trial.id, &plan, &trial, halving ? halving->stopped(i) : nullptr);
    }
  }

  // `stopped` is the reason why halving does not let the trial go on, nullptr where it does.
  void add_run(const fs::path& directory, const SweepPlan* plan, const PlannedTrial* trial,
               const std::string* stopped = nullptr) {
    std::error_code error;
    if (!known_.insert(fs::weakly_canonical(directory, error)).second) return;
    fs::path read = directory;
    try {
      RunRecord record;
      record.directory = directory;
      if (trial) record.hash = trial->hash;
      if (trial) record.label = trial->label;
      read = RunDirectory{directory}.config();
      record.config = find_config(directory, plan, trial);
      read = RunDirectory{directory}.result();
      read_outcome(record);
      if (stopped && (record.status == RunStatus::unfinished || record.status == RunStatus::waiting)) {
        record.status = RunStatus::stopped;
        record.reason = *stopped;
      }
      collection_.runs.push_back(std::move(record));
    } catch (const std::exception& problem) {
      log::warning("{}: left out of the report: {}", read.string(), problem.what());
      collection_.damaged.push_back({read, problem.what()});
    }
  }

  // The configuration that was trained, or that was to be trained where training has not begun.
  static Config find_config(const fs::path& directory, const SweepPlan* plan, const PlannedTrial* trial) {
    const RunDirectory run{directory};
    const auto planned = Ledger(directory.parent_path()).config_file(directory.filename().string());
    for (const auto& file : {run.config(), planned})
      if (is_there(file)) return load_config(file);
    if (!plan) fail_input("there is no configuration");
    return trial_config(*plan, *trial);
  }

  static void read_outcome(RunRecord& record) {
    const RunDirectory run{record.directory};
    if (!is_there(run.result())) {
      read_state(record);
      read_progress(record);
      return;
    }
    record.result = read_result(run.result(), record.config);
    require_facts(record.result);
    record.result["verdict"] = to_json(judge_access(record.result));
    record.attacks = read_attacks(run, record.result.value("weights_sha256", ""));
    count_attacks(record.result, record.attacks);
    record.status = RunStatus::done;
    record.reason = early_stop_text(record.result);
    record.hash = record.result.at("config_hash").get<std::string>();
    record.data_digest = find_data_digest(run, record.result);
  }

  static void read_state(RunRecord& record) {
    const RunDirectory run{record.directory};
    const Ledger ledger(record.directory.parent_path());
    const auto id = record.directory.filename().string();
    const auto entry = ledger.read(id);
    if (entry.state == TrialState::failed) {
      record.status = RunStatus::failed;
      record.reason = fmt::format("exit code {}: {}", entry.exit_code, entry.reason);
      record.log = ledger.output_log(id);
    } else if (entry.state == TrialState::running || Lease::held(record.directory)) {
      record.status = RunStatus::running;
    } else if (auto error = is_trial(record.directory) ? std::string() : last_error(run); !error.empty()) {
      record.status = RunStatus::failed;
      record.reason = std::move(error);
      record.log = run.log() / "rank0.log";
    } else {
      record.status = is_there(run.config()) ? RunStatus::unfinished : RunStatus::waiting;
    }
  }

  // Lines that cannot be understood are passed over.
  static void read_progress(RunRecord& record) {
    const auto metrics = RunDirectory{record.directory}.metrics();
    std::ifstream file(metrics);
    for (std::string text; std::getline(file, text);)
      if (const auto step = number_at(nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false), "global_step"))
        record.steps_done = static_cast<std::int64_t>(*step);
    record.last_evaluation = last_evaluation(metrics, record.config);
    if (const auto epoch = number_at(record.last_evaluation, "epoch"))
      record.epochs_done = static_cast<std::int64_t>(*epoch) + 1;
  }

  RunCollection& collection_;
  std::set<fs::path> known_, visited_;
};

// Text such as "a, b, c and 3 more", with each name once.
std::string joined_names(const std::vector<std::string>& all) {
  constexpr std::size_t most_names = 3;
  std::vector<std::string> names;
  for (const auto& name : all)
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  const auto shown = std::min(names.size(), most_names);
  const auto text =
      fmt::format("{}", fmt::join(names.begin(), names.begin() + static_cast<std::ptrdiff_t>(shown), ", "));
  return names.size() > shown ? fmt::format("{} and {} more", text, names.size() - shown) : text;
}

std::string folder_name(const fs::path& directory) {
  return fs::absolute(directory / "").lexically_normal().parent_path().filename().string();
}

}  // namespace

std::string to_string(RunStatus status) {
  constexpr std::array words{"done", "unfinished", "running", "failed", "waiting", "stopped"};
  return words.at(static_cast<std::size_t>(status));
}

std::string RunRecord::name() const {
  return label.empty() ? directory.filename().string() : label;
}

double RunRecord::seconds() const {
  return result.is_null() ? 0.0 : result.at("seconds_total").get<double>();
}

std::optional<double> RunRecord::gpu_hours() const {
  if (result.is_null()) return std::nullopt;
  const bool cuda = result.value("device", std::string(config.train.device == Device::cuda ? "cuda" : "")) == "cuda";
  const auto ranks = number_at(result, "ranks");
  return cuda && ranks ? std::optional(*ranks * seconds() / 3600.0) : std::nullopt;
}

std::optional<double> RunRecord::core_hours() const {
  if (result.is_null() || gpu_hours()) return std::nullopt;
  auto threads = number_at(result, "threads");
  if (!threads && config.dist.threads > 0) threads = static_cast<double>(config.dist.threads);
  if (!threads && config.dist.reduction == Reduction::elastic) threads = 1.0;
  const auto ranks = number_at(result, "ranks");
  if (!threads || !ranks) return std::nullopt;
  return *threads * *ranks * seconds() / 3600.0;
}

RunCollection collect_runs(const std::vector<fs::path>& directories) {
  RunCollection collection;
  Collector collector(collection);
  std::string asked;
  std::vector<std::string> names;
  for (const auto& directory : directories) {
    std::error_code error;
    if (!fs::is_directory(directory, error))
      fail_input("{}: no such directory: accepted: a run directory, the --dir of a sweep, or a folder that holds such",
                 directory.string());
    asked += (asked.empty() ? "" : ", ") + directory.string();
    names.push_back(folder_name(directory));
    collector.visit(directory, &names.back());
  }
  if (collection.runs.empty())
    fail_input("{}: no run found{}: accepted: folders that hold run directories (config.toml and result.json)", asked,
               collection.damaged.empty() ? "" : fmt::format(" but {} damaged", collection.damaged.size()));
  collection.title = joined_names(names);
  return collection;
}

}  // namespace spankey
