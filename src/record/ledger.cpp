#include "record/ledger.h"

#include <fcntl.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstring>
#include <system_error>
#include <unordered_set>

#include "base/descriptor.h"
#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "record/early_stop.h"
#include "record/halving.h"

namespace spankey {
namespace {

constexpr std::array state_words{"waiting", "running", "done", "failed", "stopped"};

std::string entry_text(const TrialEntry& entry) {
  return nlohmann::json{{"state", to_string(entry.state)},
                        {"attempts", entry.attempts},
                        {"idle_attempts", entry.idle_attempts},
                        {"step", entry.step},
                        {"exit_code", entry.exit_code},
                        {"reason", entry.reason},
                        {"seconds", entry.seconds},
                        {"units", entry.units},
                        {"attack", entry.attack}}
             .dump(2, ' ', /*ensure_ascii=*/false, nlohmann::json::error_handler_t::replace) +
         "\n";
}

// A larger number, or a fraction, means damage. Sums of these numbers must not overflow.
std::int64_t whole_number(const nlohmann::json& object, const char* key) {
  const auto& value = object.at(key);
  constexpr std::int64_t most = std::int64_t{1} << 53;
  const auto number = value.is_number_integer() ? value.get<std::int64_t>() : most;
  if (number < -1 || number >= most) fail_input("{}: not a number of its kind", key);
  return number;
}

// Returns nothing where the text is not an entry.
std::optional<TrialEntry> parse_entry(const std::string& text) {
  try {
    const auto object = nlohmann::json::parse(text);
    TrialEntry entry;
    const auto word = object.at("state").get<std::string>();
    const auto last = state_words.end() - 1;  // `stopped` is in no entry
    const auto state = std::find(state_words.begin(), last, word);
    if (state == last) return std::nullopt;
    entry.state = static_cast<TrialState>(state - state_words.begin());
    entry.attempts = whole_number(object, "attempts");
    entry.idle_attempts = whole_number(object, "idle_attempts");
    entry.step = whole_number(object, "step");
    entry.exit_code = static_cast<int>(whole_number(object, "exit_code"));
    entry.reason = object.at("reason").get<std::string>();
    entry.seconds = object.at("seconds").get<double>();
    if (object.contains("units")) entry.units = whole_number(object, "units");
    entry.attack = object.value("attack", std::string());
    return entry;
  } catch (const nlohmann::json::exception&) {
    return std::nullopt;
  } catch (const Error&) {
    return std::nullopt;
  }
}

// Another sweep of the store may have trained it and not attacked it, or otherwise.
TrialState state_of(const TrialEntry& entry, const PlannedTrial& trial) {
  const bool lacks_attack = !trial.attack.empty() && entry.attack != trial.attack;
  return entry.state == TrialState::done && lacks_attack ? TrialState::waiting : entry.state;
}

std::filesystem::path state_path(const std::filesystem::path& folder) {
  return folder / "state.json";
}

// Returns nothing where there is no file. Throws Error(run_failed) where the file cannot be read now, which is not
// damage.
std::optional<std::string> read_state(const std::filesystem::path& path) {
  const Descriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.valid() && (errno == ENOENT || errno == ENOTDIR)) return std::nullopt;
  std::string text;
  char part[2048];
  ssize_t count = file.valid() ? 1 : -1;
  while (count > 0) {
    count = ::read(file.get(), part, sizeof part);
    if (count < 0 && errno == EINTR)
      count = 1;
    else if (count > 0)
      text.append(part, static_cast<std::size_t>(count));
  }
  const int reason = errno;
  if (count < 0 && reason != EISDIR) fail_run("{} cannot be read: {}", path.string(), std::strerror(reason));
  return text;
}

// Reads the entry of a folder. `damaged` is set where the file exists and cannot be understood. Throws as read_state()
// does.
TrialEntry read_entry(const std::filesystem::path& folder, bool& damaged) {
  const auto text = read_state(state_path(folder));
  const auto entry = text ? parse_entry(*text) : std::nullopt;
  damaged = text && !entry;
  return entry.value_or(TrialEntry{});
}

// Returns the folders in `store`, or nullopt where it cannot be listed.
std::optional<std::unordered_set<std::string>> folders_of(const std::filesystem::path& store) {
  std::unordered_set<std::string> names;
  std::error_code error;
  for (std::filesystem::directory_iterator entry(store, error), end; !error && entry != end; entry.increment(error))
    names.insert(entry->path().filename().string());
  if (error && error != std::errc::no_such_file_or_directory) return std::nullopt;
  return names;
}

void set_aside(const std::filesystem::path& path) {
  auto aside = path;
  aside += ".damaged";
  std::error_code error;
  for (int i = 2; std::filesystem::exists(aside, error); ++i) {
    aside = path;
    aside += fmt::format(".{}.damaged", i);
  }
  std::filesystem::rename(path, aside, error);
  log::warning("{} is damaged: renamed to {}, and the trial starts anew", path.string(), aside.filename().string());
}

// Returns nullptr where another worker was faster. Throws Error for a fault that keeps every worker from taking leases
// (a full disk).
std::unique_ptr<Lease> try_lease(const std::filesystem::path& folder, LeaseObserver& leases) {
  for (int left = 2;; --left) {
    try {
      return std::make_unique<Lease>(folder, leases);
    } catch (const Error&) {
      if (leases.held(folder)) return nullptr;
      if (left == 0) throw;
    }
  }
}

}  // namespace

std::string to_string(TrialState state) {
  return state_words.at(static_cast<std::size_t>(state));
}

bool TrialClaim::write(const TrialEntry& entry) {
  if (lease_ && !lease_->still_ours()) return false;
  write_durably(state_path(folder_), entry_text(entry));
  entry_ = entry;
  return true;
}

Ledger::Ledger(std::filesystem::path store, Claims claims) : store_(std::move(store)), claims_(claims) {}

std::filesystem::path Ledger::folder(const std::string& id) const {
  return store_ / id / "sweep";
}

RunDirectory Ledger::run_directory(const std::string& id) const {
  return {store_ / id};
}

std::filesystem::path Ledger::output_log(const std::string& id) const {
  return run_directory(id).log() / "output.log";
}

std::filesystem::path Ledger::config_file(const std::string& id) const {
  return folder(id) / "config.toml";
}

TrialEntry Ledger::read(const std::string& id) const {
  TrialEntry entry;
  try {
    bool damaged = false;
    entry = read_entry(folder(id), damaged);
  } catch (const Error&) {
    return entry;
  }
  if (entry.state == TrialState::waiting && leases_->held(folder(id))) entry.state = TrialState::running;
  return entry;
}

std::vector<TrialEntry> Ledger::read_all(const SweepPlan& plan) const {
  const auto begun = folders_of(store_);
  std::vector<TrialEntry> entries(plan.trials.size());
  for (std::size_t i = 0; i < entries.size(); ++i) {
    if (begun && !begun->contains(plan.trials[i].id)) continue;
    entries[i] = read(plan.trials[i].id);
    entries[i].state = state_of(entries[i], plan.trials[i]);
  }
  if (plan.halving) {
    Halving halving(plan);
    halving.refresh();
    for (std::size_t i = 0; i < entries.size(); ++i)
      if (const auto* reason = halving.stopped(i); reason && entries[i].state == TrialState::waiting) {
        entries[i].state = TrialState::stopped;
        entries[i].reason = *reason;
      }
  }
  return entries;
}

std::vector<TrialState> Ledger::read_states(const SweepPlan& plan) const {
  std::vector<TrialState> states;
  for (const auto& entry : read_all(plan)) states.push_back(entry.state);
  return states;
}

std::optional<TrialClaim> Ledger::claim(const PlannedTrial& trial, TrialState* seen) {
  TrialState unused;
  auto& state = seen ? *seen : unused;
  state = state_of(read(trial.id), trial);
  // Without leases nothing shows that a trial is running.
  if (state != TrialState::waiting && (claims_ == Claims::exclusive || state != TrialState::running))
    return std::nullopt;
  auto claim = claim_any(trial.id);
  if (!claim) {
    state = TrialState::running;
    return std::nullopt;
  }
  // Another worker may have finished the trial between the check and the claim.
  state = state_of(claim->entry(), trial);
  if (state != TrialState::waiting) return std::nullopt;
  claim->entry_.state = state;
  if (!trial.attack.empty() || !has_result(trial)) return claim;
  auto entry = claim->entry();
  entry.state = TrialState::done;
  entry.exit_code = 0;
  entry.reason = stopped_early(trial.id);
  entry.step = checkpoint_step(trial.id);
  if (claim->write(entry)) state = TrialState::done;
  return std::nullopt;
}

std::optional<TrialClaim> Ledger::claim_any(const std::string& id) {
  // The ranks of an attempt may outlive their launcher by seconds, so the leases of the run and of its attack count as
  // well.
  const auto run = run_directory(id);
  if (claims_ == Claims::exclusive &&
      (leases_->held(folder(id)) || leases_->held(run.root) || leases_->held(run.attack())))
    return std::nullopt;
  make_writable_folder(folder(id));
  TrialClaim claim;
  claim.folder_ = folder(id);
  if (claims_ == Claims::exclusive) {
    claim.lease_ = try_lease(folder(id), *leases_);
    if (!claim.lease_) return std::nullopt;
  }
  bool damaged = false;
  claim.entry_ = read_entry(folder(id), damaged);
  if (damaged) set_aside(state_path(folder(id)));
  return claim;
}

std::int64_t Ledger::checkpoint_step(const std::string& id) const {
  const auto files = list_checkpoints(run_directory(id).checkpoints());
  if (files.empty()) return -1;
  const auto name = files.front().stem().string();  // step_00000123
  std::int64_t step = -1;
  const auto digits = name.find('_') + 1;
  std::from_chars(name.data() + digits, name.data() + name.size(), step);
  return step;
}

std::filesystem::path Ledger::stop_marker(const PlannedTrial& trial) const {
  const auto run = run_directory(trial.id);
  std::error_code error;
  const bool attacks = !trial.attack.empty() && std::filesystem::exists(run.result(), error) &&
                       std::filesystem::exists(run.attack(), error);
  return attacks ? run.attack() / "STOP" : run.stop_marker();
}

std::int64_t Ledger::attack_units(const std::string& id) const {
  std::int64_t units = 0;
  std::error_code error;
  const auto folder = run_directory(id).attack() / "units";
  for (std::filesystem::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error))
    units += entry->path().extension() == ".json" ? 1 : 0;
  return units;
}

bool Ledger::has_result(const PlannedTrial& trial) const {
  const auto path = run_directory(trial.id).result();
  std::error_code error;
  if (!std::filesystem::exists(path, error)) return false;
  const auto result = read_json_if_whole(path);
  if (!result) {
    set_aside(path);
    return false;
  }
  const auto hash = result->find("config_hash");
  return hash != result->end() && *hash == trial.hash;
}

std::string Ledger::stopped_early(const std::string& id) const {
  const auto result = read_json_if_whole(run_directory(id).result());
  return result ? early_stop_text(*result) : std::string();
}

void SweepCounts::add(TrialState state) {
  ++trials;
  switch (state) {
    case TrialState::waiting:
      ++waiting;
      break;
    case TrialState::stopped:
      ++stopped;
      break;
    case TrialState::running:
      ++running;
      break;
    case TrialState::done:
      ++done;
      break;
    case TrialState::failed:
      ++failed;
      break;
  }
}

SweepCounts count_trials(const SweepPlan& plan, const Ledger& ledger) {
  SweepCounts counts;
  for (const auto state : ledger.read_states(plan)) counts.add(state);
  return counts;
}

}  // namespace spankey
