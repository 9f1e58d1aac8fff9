#include "train/lease.h"

#include <fcntl.h>
#include <nlohmann/json.hpp>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <fstream>
#include <sstream>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "base/origin.h"
#include "base/system_error.h"

namespace spankey {
namespace {

constexpr std::chrono::seconds expiry{30};
constexpr std::chrono::seconds renewal{5};

std::string first_line(const char* path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// Field 22 of /proc/<pid>/stat, in clock ticks since boot; empty where there is no such process, or only what is left
// of it until its parent asks (a container without an init never does).
std::string process_start_time(long pid) {
  const auto line = first_line(fmt::format("/proc/{}/stat", pid).c_str());
  const auto after_name = line.rfind(')');
  if (after_name == std::string::npos) return "";
  std::istringstream fields(line.substr(after_name + 1));
  std::string field;
  fields >> field;
  if (field == "Z" || field == "X") return "";
  for (int i = 4; i <= 22; ++i) fields >> field;
  return field;
}

std::string boot_id() {
  return first_line("/proc/sys/kernel/random/boot_id");
}

// Process numbers mean something within one name space only: containers on a machine may share its host name.
std::string pid_namespace() {
  std::error_code error;
  return std::filesystem::read_symlink("/proc/self/ns/pid", error).string();
}

std::string own_content(std::int64_t attempt) {
  const nlohmann::json lease{{"attempt", attempt},
                             {"host", host_name()},
                             {"boot_id", boot_id()},
                             {"pid_namespace", pid_namespace()},
                             {"pid", static_cast<long>(getpid())},
                             {"start_time", process_start_time(getpid())}};
  return lease.dump() + "\n";
}

std::string read_if_there(const std::filesystem::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

// Of a lease or of the file `attempt`; 0 where there is none.
std::int64_t attempt_in(const std::string& text) {
  const auto json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  const auto number = json.is_object() && json.contains("attempt") ? json["attempt"] : json;
  const auto attempt = number.is_number_integer() ? number.get<std::int64_t>() : 0;
  constexpr std::int64_t most = std::int64_t{1} << 53;  // more is damage, and the next one must not overflow
  return attempt > 0 && attempt < most ? attempt : 0;
}

double seconds_since_renewal(const std::filesystem::path& path) {
  struct stat status {};
  if (stat(path.c_str(), &status) != 0) return 0.0;
  return std::difftime(time(nullptr), status.st_mtime);
}

// "" where the field is missing or of another type: damaged.
std::string text_of(const nlohmann::json& owner, const char* field) {
  const auto found = owner.find(field);
  return found != owner.end() && found->is_string() ? found->get<std::string>() : "";
}

// True where the owner is known to be dead, or has not renewed its lease for too long.
bool is_stale(const std::filesystem::path& path, const std::string& content) {
  const auto owner = nlohmann::json::parse(content, nullptr, /*allow_exceptions=*/false);
  // A damaged lease cannot say whose it is: only its age counts.
  const bool whole = owner.is_object() && owner.contains("pid") && owner["pid"].is_number_integer() &&
                     !text_of(owner, "start_time").empty();
  if (whole && text_of(owner, "host") == host_name() && text_of(owner, "boot_id") == boot_id() &&
      text_of(owner, "pid_namespace") == pid_namespace())
    return process_start_time(owner["pid"].get<long>()) != text_of(owner, "start_time");
  return seconds_since_renewal(path) > static_cast<double>(expiry.count());
}

// A file beside `path` that no other process uses.
std::string own_temporary(const std::filesystem::path& path, const char* what = "") {
  return fmt::format("{}{}.{}.{}.tmp", path.string(), what, host_name(), getpid());
}

bool create_exclusively(const std::filesystem::path& path, const std::string& content) {
  // Written aside and linked into place, so that nobody ever reads a half-written lease.
  const auto aside = own_temporary(path);
  {
    std::ofstream file(aside, std::ios::trunc);
    file << content;
    if (!file.flush()) fail_system(errno, "{} cannot be written", aside);
  }
  const bool created = link(aside.c_str(), path.c_str()) == 0;
  const int reason = errno;
  unlink(aside.c_str());
  // ENOENT: the owner has cleaned up.
  if (!created && reason != EEXIST && reason != ENOENT) fail_system(reason, "{} cannot be created", path.string());
  return created;
}

// Two attempts may see the same dead owner: only the one whose rename moves just that content away goes on.
void remove_stale(const std::filesystem::path& path, const std::string& content) {
  const auto aside = own_temporary(path, ".stale");
  if (rename(path.c_str(), aside.c_str()) != 0) return;
  if (read_if_there(aside) != content && link(aside.c_str(), path.c_str()) != 0)
    log::warning("{}: taken by two attempts at once", path.string());
  unlink(aside.c_str());
}

// Until remove_stale() has put a lease back that it should not have moved, two attempts may think they hold one: they
// must not share a temporary file here, nor may one take the other's lease away.
void write_attempt(const std::filesystem::path& run_directory, std::int64_t attempt) {
  const auto path = run_directory / "attempt";
  const auto aside = own_temporary(path);
  write_durably(aside, std::to_string(attempt) + "\n");
  if (rename(aside.c_str(), path.c_str()) == 0) return;
  const int reason = errno;
  unlink(aside.c_str());
  fail_system(reason, "cannot write {}", path.string());
}

}  // namespace

Lease::Lease(const std::filesystem::path& run_directory, std::chrono::milliseconds patience)
    : path_(run_directory / "lease") {
  take(run_directory, patience);
  try {
    write_attempt(run_directory, attempt_);
  } catch (...) {
    if (still_ours()) unlink(path_.c_str());
    throw;
  }
  renewer_ = std::thread([this] { renew_until_stopped(); });
}

void Lease::take(const std::filesystem::path& run_directory, std::chrono::milliseconds patience) {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  std::int64_t last_attempt = attempt_in(read_if_there(run_directory / "attempt"));
  for (;;) {
    attempt_ = last_attempt + 1;
    content_ = own_content(attempt_);
    if (create_exclusively(path_, content_)) return;
    const auto content = read_if_there(path_);
    const auto owner = content.substr(0, content.find('\n'));
    if (!owner.empty() && is_stale(path_, content)) {
      log::info("taking over the lease of a run that is no longer alive: {}", owner);
      last_attempt = std::max(last_attempt, attempt_in(content));
      remove_stale(path_, content);
    } else if (std::chrono::steady_clock::now() < deadline) {
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    } else {
      fail_input("{} is in use by another run ({}); wait for it, or choose another --run-dir", run_directory.string(),
                 owner);
    }
  }
}

Lease::~Lease() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  stopped_.notify_all();
  renewer_.join();
  if (still_ours()) unlink(path_.c_str());
}

bool Lease::held(const std::filesystem::path& run_directory) {
  const auto path = run_directory / "lease";
  std::error_code error;
  return std::filesystem::exists(path, error) && !is_stale(path, read_if_there(path));
}

bool Lease::still_ours() const {
  return read_if_there(path_) == content_;
}

void Lease::require() const {
  const auto content = read_if_there(path_);
  if (content == content_) return;
  const auto owner = content.substr(0, content.find('\n'));
  fail_run("attempt {} no longer holds {} and stops without writing; {}", attempt_, path_.string(),
           owner.empty() ? "the file is gone" : "it belongs to " + owner);
}

void Lease::renew_until_stopped() {
  std::unique_lock lock(mutex_);
  while (!stopped_.wait_for(lock, renewal, [this] { return stop_; }))
    if (still_ours()) utimensat(AT_FDCWD, path_.c_str(), nullptr, 0);
}

}  // namespace spankey
