#include "train/lease.h"

#include <fcntl.h>
#include <nlohmann/json.hpp>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <fstream>
#include <sstream>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"

namespace spankey {
namespace {

constexpr std::chrono::seconds expiry{30};
constexpr std::chrono::seconds renewal{5};
// The ranks of a launcher that was killed need a moment to notice: a restart right after it is not refused for that.
constexpr std::chrono::seconds patience{3};

std::string first_line(const char* path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// Field 22 of /proc/<pid>/stat, in clock ticks since boot; empty where there is no such process.
std::string process_start_time(long pid) {
  const auto line = first_line(fmt::format("/proc/{}/stat", pid).c_str());
  const auto after_name = line.rfind(')');
  if (after_name == std::string::npos) return "";
  std::istringstream fields(line.substr(after_name + 1));
  std::string field;
  for (int i = 3; i <= 22; ++i) fields >> field;
  return field;
}

std::string host_name() {
  char name[256] = {};
  gethostname(name, sizeof name - 1);
  return name;
}

std::string boot_id() {
  return first_line("/proc/sys/kernel/random/boot_id");
}

std::string own_content() {
  const nlohmann::json lease{{"host", host_name()},
                             {"boot_id", boot_id()},
                             {"pid", static_cast<long>(getpid())},
                             {"start_time", process_start_time(getpid())}};
  return lease.dump() + "\n";
}

std::string read_if_there(const std::filesystem::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

double seconds_since_renewal(const std::filesystem::path& path) {
  struct stat status {};
  if (stat(path.c_str(), &status) != 0) return 0.0;
  return std::difftime(time(nullptr), status.st_mtime);
}

// True where the owner is known to be dead, or has not renewed its lease for too long.
bool is_stale(const std::filesystem::path& path, const std::string& content) {
  const auto owner = nlohmann::json::parse(content, nullptr, /*allow_exceptions=*/false);
  if (!owner.is_object()) return seconds_since_renewal(path) > static_cast<double>(expiry.count());
  const bool this_boot = owner.value("host", "") == host_name() && owner.value("boot_id", "") == boot_id();
  if (this_boot) return process_start_time(owner.value("pid", 0L)) != owner.value("start_time", "");
  return seconds_since_renewal(path) > static_cast<double>(expiry.count());
}

bool create_exclusively(const std::filesystem::path& path, const std::string& content) {
  // Written aside and linked into place, so that nobody ever reads a half-written lease.
  const auto aside = path.string() + fmt::format(".{}.{}", host_name(), getpid());
  {
    std::ofstream file(aside, std::ios::trunc);
    file << content;
    if (!file.flush()) fail_input("{} cannot be written: {}", aside, std::strerror(errno));
  }
  const bool created = link(aside.c_str(), path.c_str()) == 0;
  const int reason = errno;
  unlink(aside.c_str());
  if (!created && reason != EEXIST) fail_input("{} cannot be created: {}", path.string(), std::strerror(reason));
  return created;
}

// Two attempts may see the same dead owner: only the one whose rename moves just that content away goes on.
void remove_stale(const std::filesystem::path& path, const std::string& content) {
  const auto aside = path.string() + fmt::format(".stale.{}.{}", host_name(), getpid());
  if (rename(path.c_str(), aside.c_str()) != 0) return;
  if (read_if_there(aside) != content && link(aside.c_str(), path.c_str()) != 0)
    log::warning("{}: taken by two attempts at once", path.string());
  unlink(aside.c_str());
}

}  // namespace

Lease::Lease(const std::filesystem::path& run_directory) : path_(run_directory / "lease"), content_(own_content()) {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (!create_exclusively(path_, content_)) {
    const auto content = read_if_there(path_);
    const auto owner = content.substr(0, content.find('\n'));
    if (!owner.empty() && is_stale(path_, content)) {
      log::info("taking over the lease of a run that is no longer alive: {}", owner);
      remove_stale(path_, content);
    } else if (std::chrono::steady_clock::now() < deadline) {
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    } else {
      fail_input("{} is in use by another run ({}); wait for it, or choose another --run-dir", run_directory.string(),
                 owner);
    }
  }
  renewer_ = std::thread([this] { renew_until_stopped(); });
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

bool Lease::still_ours() const {
  return read_if_there(path_) == content_;
}

void Lease::renew_until_stopped() {
  std::unique_lock lock(mutex_);
  while (!stopped_.wait_for(lock, renewal, [this] { return stop_; }))
    if (still_ours()) utimensat(AT_FDCWD, path_.c_str(), nullptr, 0);
}

}  // namespace spankey
