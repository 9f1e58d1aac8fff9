#include "study/run_record.h"

#include <algorithm>
#include <array>
#include <set>

#include "base/error.h"
#include "base/file.h"
#include "base/hdf5_file.h"
#include "base/log.h"
#include "study/ledger.h"
#include "study/plan.h"
#include "train/checkpoint.h"
#include "train/lease.h"
#include "train/run_directory.h"

namespace spankey {
namespace {

namespace fs = std::filesystem;

bool is_there(const fs::path& path) {
  std::error_code error;
  return fs::exists(path, error);
}

// What the holders of a trial write about it, see study/ledger.h.
bool is_trial(const fs::path& directory) {
  return is_there(directory / "sweep" / "state.json");
}

bool is_run(const fs::path& directory) {
  return is_there(RunDirectory{directory}.config()) || is_there(RunDirectory{directory}.result()) ||
         is_trial(directory);
}

// Everything a report takes for granted about a result.
void require_figures(const nlohmann::json& result) {
  for (const char* path :
       {"no_key.accuracy", "no_key.strip_accuracy", "correct_key.accuracy", "correct_key.strip_accuracy",
        "wrong_key.accuracy", "wrong_key.accuracy.max", "wrong_key.strip_accuracy"})
    if (!figure(result, path)) fail_input("{} is missing or no number", path);
  for (const char* name : {"majority_rate", "seconds_total"})
    if (!result.value(name, nlohmann::json()).is_number()) fail_input("{} is missing or no number", name);
  if (!result.value("test_samples", nlohmann::json()).is_number_integer())
    fail_input("test_samples is missing or no whole number");
  if (!result.value("config_hash", nlohmann::json()).is_string()) fail_input("config_hash is missing or no text");
  // Results of earlier versions lack some of these.
  for (const char* name : {"data_digest", "weights_sha256", "device", "wrong_family"})
    if (const auto text = result.find(name); text != result.end() && !text->is_string())
      fail_input("{} is no text", name);
  if (!result.contains("train")) return;
  for (const char* path : {"train.no_key.accuracy", "train.correct_key.accuracy", "train.wrong_key.accuracy"})
    if (!figure(result, path)) fail_input("{} is missing or no number", path);
}

// The digest that the run was trained on: of its result, or of its newest checkpoint.
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

  void visit(const fs::path& directory) {
    if (is_there(plan_path(directory))) return add_sweep(directory);
    if (is_run(directory)) return add_run(directory, nullptr, nullptr);
    std::vector<fs::path> folders;
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(directory, error))
      if (entry.is_directory(error) && !entry.is_symlink(error)) folders.push_back(entry.path());
    std::sort(folders.begin(), folders.end());
    for (const auto& folder : folders) visit(folder);
  }

 private:
  void add_sweep(const fs::path& directory) {
    const auto plan = load_plan(directory);
    if (collection_.title.empty()) collection_.title = plan.name;
    for (const auto& trial : plan.trials) add_run(plan.store / trial.id, &plan, &trial);
  }

  void add_run(const fs::path& directory, const SweepPlan* plan, const PlannedTrial* trial) {
    std::error_code error;
    if (!known_.insert(fs::weakly_canonical(directory, error)).second) return;
    fs::path read = directory;
    try {
      RunRecord record;
      record.directory = directory;
      if (trial) record.hash = trial->hash;
      read = RunDirectory{directory}.config();
      record.config = find_config(directory, plan, trial);
      read = RunDirectory{directory}.result();
      read_result(record);
      collection_.runs.push_back(std::move(record));
    } catch (const std::exception& problem) {
      log::warning("{}: left out of the report: {}", read.string(), problem.what());
      collection_.damaged.push_back({read, problem.what()});
    }
  }

  // What was trained, or, where that has not begun, what was to be trained.
  static Config find_config(const fs::path& directory, const SweepPlan* plan, const PlannedTrial* trial) {
    const RunDirectory run{directory};
    const auto planned = Ledger(directory.parent_path()).config_file(directory.filename().string());
    for (const auto& file : {run.config(), planned})
      if (is_there(file)) return load_config(file);
    if (!plan) fail_input("there is no configuration");
    return trial_config(*plan, *trial);
  }

  static void read_result(RunRecord& record) {
    const RunDirectory run{record.directory};
    if (!is_there(run.result())) return read_state(record);
    record.result = nlohmann::json::parse(read_text(run.result()));
    require_figures(record.result);
    record.status = RunStatus::done;
    record.hash = record.result.at("config_hash").get<std::string>();
    record.data_digest = find_data_digest(run, record.result);
  }

  static void read_state(RunRecord& record) {
    const Ledger ledger(record.directory.parent_path());
    const auto id = record.directory.filename().string();
    const auto entry = ledger.read(id);
    if (entry.state == TrialState::failed) {
      record.status = RunStatus::failed;
      record.reason = fmt::format("exit code {}: {}", entry.exit_code, entry.reason);
      record.log = ledger.output_log(id);
    } else if (entry.state == TrialState::running || Lease::held(record.directory)) {
      record.status = RunStatus::running;
    } else {
      const bool begun = is_there(RunDirectory{record.directory}.config());
      record.status = begun ? RunStatus::unfinished : RunStatus::waiting;
    }
  }

  RunCollection& collection_;
  std::set<fs::path> known_;
};

// wrong_key and every family of wrong keys.
std::vector<const nlohmann::json*> wrong_keys(const nlohmann::json& result) {
  std::vector<const nlohmann::json*> all{&result.at("wrong_key")};
  if (const auto families = result.find("families"); families != result.end())
    for (const auto& family : *families) all.push_back(&family);
  return all;
}

// Largest of these accuracies: of a single key where keys were tried on all samples.
double best_of(const RunRecord& run, const nlohmann::json& figures, const std::vector<std::string>& names) {
  double best = 0.0;
  for (const auto& name : names) {
    best = std::max(best, figure(figures, name).value_or(0.0));
    if (run.config.eval.keys > 0) best = std::max(best, figure(figures, name + ".max").value_or(0.0));
  }
  return best;
}

}  // namespace

std::string to_string(RunStatus status) {
  constexpr std::array words{"done", "unfinished", "running", "failed", "waiting"};
  return words.at(static_cast<std::size_t>(status));
}

double RunRecord::seconds() const {
  return result.is_null() ? 0.0 : result.at("seconds_total").get<double>();
}

std::optional<double> RunRecord::gpu_hours() const {
  if (result.is_null()) return std::nullopt;
  const bool cuda = result.value("device", std::string(config.train.device == Device::cuda ? "cuda" : "")) == "cuda";
  const auto ranks = figure(result, "ranks");
  return cuda && ranks ? std::optional(*ranks * seconds() / 3600.0) : std::nullopt;
}

std::optional<double> RunRecord::core_hours() const {
  if (result.is_null() || gpu_hours()) return std::nullopt;
  auto threads = figure(result, "threads");
  if (!threads && config.dist.threads > 0) threads = static_cast<double>(config.dist.threads);
  if (!threads && config.dist.reduction == Reduction::elastic) threads = 1.0;
  const auto ranks = figure(result, "ranks");
  if (!threads || !ranks) return std::nullopt;
  return *threads * *ranks * seconds() / 3600.0;
}

RunCollection collect_runs(const std::vector<fs::path>& directories) {
  RunCollection collection;
  Collector collector(collection);
  std::string names;
  for (const auto& directory : directories) {
    std::error_code error;
    if (!fs::is_directory(directory, error))
      fail_input("{}: no such directory: accepted: a run directory, the --dir of a sweep, or a folder that holds such",
                 directory.string());
    names += (names.empty() ? "" : ", ") + directory.string();
    collector.visit(directory);
  }
  if (collection.runs.empty())
    fail_input("{}: no run found{}: accepted: folders that hold run directories (config.toml and result.json)", names,
               collection.damaged.empty() ? "" : fmt::format(" but {} damaged", collection.damaged.size()));
  if (collection.title.empty())
    collection.title = fs::absolute(directories.front() / "").lexically_normal().parent_path().filename().string();
  return collection;
}

std::optional<double> figure(const nlohmann::json& result, std::string_view path) {
  const auto* node = &result;
  while (!path.empty()) {
    const auto dot = path.find('.');
    const std::string name(path.substr(0, dot));
    if (!node->is_object() || !node->contains(name)) return std::nullopt;
    node = &node->at(name);
    path = dot == std::string_view::npos ? std::string_view() : path.substr(dot + 1);
  }
  if (node->is_object()) return figure(*node, "mean");
  return node->is_number() ? std::optional(node->get<double>()) : std::nullopt;
}

double worst_case(const RunRecord& run) {
  double worst = best_of(run, run.result.at("no_key"), {"accuracy", "strip_accuracy"});
  for (const auto* figures : wrong_keys(run.result))
    worst = std::max(worst, best_of(run, *figures, {"accuracy", "strip_accuracy"}));
  return worst;
}

double best_wrong_key(const RunRecord& run) {
  double best = 0.0;
  for (const auto* figures : wrong_keys(run.result)) best = std::max(best, best_of(run, *figures, {"accuracy"}));
  return best;
}

}  // namespace spankey
