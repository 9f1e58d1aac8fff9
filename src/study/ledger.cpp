#include "study/ledger.h"

#include <nlohmann/json.hpp>

#include <array>
#include <charconv>
#include <chrono>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "train/checkpoint.h"

namespace spankey {
namespace {

constexpr std::array state_words{"waiting", "running", "done", "failed"};

std::string entry_text(const TrialEntry& entry) {
  return nlohmann::json{{"state", state_words.at(static_cast<std::size_t>(entry.state))},
                        {"attempts", entry.attempts},
                        {"idle_attempts", entry.idle_attempts},
                        {"step", entry.step},
                        {"exit_code", entry.exit_code},
                        {"reason", entry.reason},
                        {"seconds", entry.seconds}}
             .dump(2, ' ', /*ensure_ascii=*/false, nlohmann::json::error_handler_t::replace) +
         "\n";
}

// More, or a fraction, is damage: sums of such numbers must not overflow.
std::int64_t whole_number(const nlohmann::json& json, const char* key) {
  const auto& value = json.at(key);
  constexpr std::int64_t most = std::int64_t{1} << 53;
  const auto number = value.is_number_integer() ? value.get<std::int64_t>() : most;
  if (number < -1 || number >= most) fail_input("{}: not a number of its kind", key);
  return number;
}

// Nothing where the text is not an entry.
std::optional<TrialEntry> parse_entry(const std::string& text) {
  try {
    const auto json = nlohmann::json::parse(text);
    TrialEntry entry;
    const auto word = json.at("state").get<std::string>();
    const auto state = std::find(state_words.begin(), state_words.end(), word);
    if (state == state_words.end()) return std::nullopt;
    entry.state = static_cast<TrialState>(state - state_words.begin());
    entry.attempts = whole_number(json, "attempts");
    entry.idle_attempts = whole_number(json, "idle_attempts");
    entry.step = whole_number(json, "step");
    entry.exit_code = static_cast<int>(whole_number(json, "exit_code"));
    entry.reason = json.at("reason").get<std::string>();
    entry.seconds = json.at("seconds").get<double>();
    return entry;
  } catch (const nlohmann::json::exception&) {
    return std::nullopt;
  } catch (const Error&) {
    return std::nullopt;
  }
}

std::filesystem::path state_path(const std::filesystem::path& folder) {
  return folder / "state.json";
}

// The entry of a folder; `damaged` where the file is there and cannot be understood.
TrialEntry read_entry(const std::filesystem::path& folder, bool& damaged) {
  damaged = false;
  std::string text;
  try {
    text = read_text(state_path(folder));
  } catch (const Error&) {
    std::error_code error;
    damaged = std::filesystem::exists(state_path(folder), error);
    return {};
  }
  const auto entry = parse_entry(text);
  damaged = !entry;
  return entry.value_or(TrialEntry{});
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
  log::warning("{} is damaged: kept as {}, the trial is begun anew", path.string(), aside.filename().string());
}

// Nothing where another worker was faster; what keeps everybody from taking leases (a full disk) is an error.
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
  bool damaged = false;
  auto entry = read_entry(folder(id), damaged);
  if (entry.state == TrialState::waiting && leases_->held(folder(id))) entry.state = TrialState::running;
  return entry;
}

std::optional<TrialClaim> Ledger::claim(const PlannedTrial& trial) {
  const auto before = read(trial.id);
  if (before.state == TrialState::done || before.state == TrialState::failed) return std::nullopt;
  auto claim = claim_any(trial.id);
  // Between the look and the claim somebody else may have finished it.
  if (!claim || claim->entry().state == TrialState::done || claim->entry().state == TrialState::failed)
    return std::nullopt;
  if (!has_result(trial)) return claim;
  auto entry = claim->entry();
  entry.state = TrialState::done;
  entry.exit_code = 0;
  entry.step = checkpoint_step(trial.id);
  claim->write(entry);
  return std::nullopt;
}

std::optional<TrialClaim> Ledger::claim_any(const std::string& id) {
  // The ranks of an attempt may outlive their launcher by seconds: the lease of the run itself counts as well.
  if (claims_ == Claims::exclusive && (leases_->held(folder(id)) || leases_->held(run_directory(id).root)))
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

bool Ledger::has_result(const PlannedTrial& trial) const {
  const auto path = run_directory(trial.id).result();
  std::error_code error;
  if (!std::filesystem::exists(path, error)) return false;
  const auto result = nlohmann::json::parse(read_text(path), nullptr, /*allow_exceptions=*/false);
  if (!result.is_object()) {
    set_aside(path);
    return false;
  }
  const auto hash = result.find("config_hash");
  return hash != result.end() && *hash == trial.hash;
}

void SweepCounts::add(TrialState state) {
  ++trials;
  switch (state) {
    case TrialState::waiting:
      ++waiting;
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
  for (const auto& trial : plan.trials) counts.add(ledger.read(trial.id).state);
  return counts;
}

}  // namespace spankey
