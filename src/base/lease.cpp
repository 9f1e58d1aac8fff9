#include "base/lease.h"

#include <fcntl.h>
#include <nlohmann/json.hpp>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <csignal>
#include <fstream>
#include <optional>
#include <thread>
#include <utility>

#include "base/descriptor.h"
#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "base/origin.h"
#include "base/process.h"
#include "base/shutdown.h"

namespace spankey {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds poll_interval{500};
constexpr std::chrono::seconds renewal{5};
// This is shorter than the time that others wait. An owner that cannot renew its lease has therefore stopped before
// they take it.
constexpr std::chrono::seconds longest_failure{25};

std::string first_line(const char* path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// The start time of a process in clock ticks since boot. Empty where there is no such process, or only a zombie whose
// parent has not waited for it (a container without an init never does).
std::string process_start_time(long pid) {
  const auto facts = look_up_process(static_cast<pid_t>(pid));
  return facts && facts->state != 'Z' && facts->state != 'X' ? facts->start_time : "";
}

std::string boot_id() {
  return first_line("/proc/sys/kernel/random/boot_id");
}

// Process numbers are valid within one name space only, and containers on a machine may share its host name.
std::string pid_namespace() {
  std::error_code error;
  return std::filesystem::read_symlink("/proc/self/ns/pid", error).string();
}

struct FolderIdentity {
  std::uint64_t device = 0, inode = 0;
};

std::optional<FolderIdentity> identity_of(const std::filesystem::path& folder) {
  struct stat status {};
  if (stat(folder.c_str(), &status) != 0) return std::nullopt;
  return FolderIdentity{status.st_dev, status.st_ino};
}

std::string own_content(std::int64_t attempt, const std::filesystem::path& folder) {
  const auto identity = identity_of(folder).value_or(FolderIdentity{});
  const nlohmann::json lease{{"attempt", attempt},
                             {"device", identity.device},
                             {"inode", identity.inode},
                             {"host", host_name()},
                             {"boot_id", boot_id()},
                             {"pid_namespace", pid_namespace()},
                             {"pid", static_cast<long>(getpid())},
                             {"start_time", process_start_time(getpid())}};
  return lease.dump() + "\n";
}

// The present content of the path.
struct LeaseFile {
  int error = 0;  // ENOENT: nothing
  std::string content;
  std::int64_t renewed = 0;  // nanoseconds
};

// The file is opened each time, because network file systems ask their server on open but not on stat.
LeaseFile read_lease(const std::filesystem::path& path) {
  const Descriptor fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return {.error = errno, .content = {}};
  LeaseFile file;
  struct stat status {};
  if (fstat(fd.get(), &status) != 0) file.error = errno;
  file.renewed = status.st_mtim.tv_sec * std::int64_t{1'000'000'000} + status.st_mtim.tv_nsec;
  constexpr std::size_t most = 1 << 16;
  for (char part[1024]; file.error == 0 && file.content.size() < most;) {
    const ssize_t count = read(fd.get(), part, sizeof part);
    if (count < 0 && errno != EINTR) file.error = errno;
    if (count == 0) break;
    if (count > 0) file.content.append(part, static_cast<std::size_t>(count));
  }
  return file;
}

// The number of the attempt in a lease or in the file `attempt`. 0 where there is none.
std::int64_t attempt_in(const std::string& text) {
  const auto json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  const auto number = json.is_object() && json.contains("attempt") ? json["attempt"] : json;
  const auto attempt = number.is_number_integer() ? number.get<std::int64_t>() : 0;
  constexpr std::int64_t most = std::int64_t{1} << 53;  // more is damage, and the next one must not overflow
  return attempt > 0 && attempt < most ? attempt : 0;
}

// A text field. "" where it is missing or of another type, which means damage.
std::string text_of(const nlohmann::json& owner, const char* field) {
  const auto found = owner.find(field);
  return found != owner.end() && found->is_string() ? found->get<std::string>() : "";
}

// 0 where the field is missing or of another type.
std::uint64_t number_of(const nlohmann::json& owner, const char* field) {
  const auto found = owner.find(field);
  return found != owner.end() && found->is_number_unsigned() ? found->get<std::uint64_t>() : 0;
}

// Describes the owner for a person. Empty for a lease that is empty.
std::string owner_words(const std::string& content) {
  const auto owner = nlohmann::json::parse(content, nullptr, /*allow_exceptions=*/false);
  if (!owner.is_object()) return content.empty() ? "" : "a damaged lease";
  const auto pid = owner.find("pid");
  return fmt::format("attempt {}: process {} on {}", attempt_in(content),
                     pid != owner.end() && pid->is_number_integer() ? pid->dump() : "?", text_of(owner, "host"));
}

enum class Known { nothing, dead, alive, copied };

// What can be known from the lease without watching it. This works on this machine only, because process numbers and
// the numbers that a file system gives its folders differ elsewhere.
Known known_of(const std::string& content, const std::filesystem::path& folder) {
  const auto owner = nlohmann::json::parse(content, nullptr, /*allow_exceptions=*/false);
  if (!owner.is_object() || text_of(owner, "boot_id") != boot_id()) return Known::nothing;
  const auto here = identity_of(folder);
  const auto device = number_of(owner, "device"), inode = number_of(owner, "inode");
  if (here && inode != 0 && inode != here->inode) return Known::copied;
  const bool whole = owner.contains("pid") && owner["pid"].is_number_integer() && !text_of(owner, "start_time").empty();
  if (!whole || text_of(owner, "host") != host_name() || text_of(owner, "pid_namespace") != pid_namespace())
    return Known::nothing;
  if (process_start_time(owner["pid"].get<long>()) != text_of(owner, "start_time")) return Known::dead;
  // A live process, of this folder or of the one that this is a copy of, with the same number on another file system.
  return here && device != 0 && device != here->device ? Known::nothing : Known::alive;
}

// A file beside `path` that no other process uses.
std::string own_temporary(const std::filesystem::path& path, const char* what = "") {
  return fmt::format("{}{}.{}.{}.tmp", path.string(), what, host_name(), getpid());
}

void write_all(Descriptor fd, const std::string& path, const std::string& content) {
  bool written = true;
  for (std::size_t done = 0; written && done < content.size();) {
    const ssize_t count = write(fd.get(), content.data() + done, content.size() - done);
    if (count > 0) done += static_cast<std::size_t>(count);
    written = count >= 0 || errno == EINTR;
  }
  if (written && fd.close()) return;
  const int error = errno;
  fd.reset();
  unlink(path.c_str());
  fail_system(error, "{} cannot be written", path);
}

// False where the path is taken. Others may see the file before it is written. They then take it for damaged and watch
// it.
bool create_in_place(const std::string& path, const std::string& content) {
  Descriptor fd(open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
  if (!fd.valid() && errno == EEXIST) return false;
  if (!fd.valid()) fail_system(errno, "{} cannot be created", path);
  write_all(std::move(fd), path, content);
  return true;
}

bool has_no_links(int error) {
  return error == EPERM || error == ENOTSUP || error == EOPNOTSUPP || error == ENOSYS || error == EMLINK;
}

// False where the path is taken.
bool create_exclusively(const std::filesystem::path& path, const std::string& content) {
  // Writes the lease beside its place and links it there, so that no process reads a half-written lease.
  const auto aside = own_temporary(path);
  unlink(aside.c_str());
  if (!create_in_place(aside, content)) return false;  // a thread of this process wants the same folder
  const bool created = link(aside.c_str(), path.c_str()) == 0;
  const int error = errno;
  unlink(aside.c_str());
  if (created) return true;
  if (has_no_links(error)) {
    static std::atomic<bool> told = false;
    if (!told.exchange(true))
      log::info("{}: this file system has no hard links ({}): the lease is created in place", path.string(),
                system_reason(error));
    return create_in_place(path, content);
  }
  // ENOENT: the owner has cleaned up.
  if (error != EEXIST && error != ENOENT) fail_system(error, "{} cannot be created", path.string());
  return false;
}

// Two attempts may see the same dead owner. Only the one whose rename moves exactly that content away goes on.
void remove_stale(const std::filesystem::path& path, const std::string& content) {
  const auto aside = own_temporary(path, ".stale");
  if (rename(path.c_str(), aside.c_str()) != 0) return;
  const auto moved = read_lease(aside);
  if (moved.content != content && link(aside.c_str(), path.c_str()) != 0) {
    const bool back = has_no_links(errno) && create_in_place(path, moved.content);
    if (!back) log::warning("{}: taken by two attempts at once", path.string());
  }
  unlink(aside.c_str());
}

// Changes the file's time, or writes the same content again where only its owner may set times.
bool renew(const std::filesystem::path& path, const std::string& content, int& error) {
  if (utimensat(AT_FDCWD, path.c_str(), nullptr, 0) == 0) return true;
  Descriptor fd(open(path.c_str(), O_WRONLY | O_CLOEXEC));
  const bool written = fd.valid() && pwrite(fd.get(), content.data(), 1, 0) == 1;
  error = errno;
  return (!fd.valid() || fd.close()) && written;
}

// Until remove_stale() has put a lease back that it should not have moved, two attempts may think they hold one: in
// that time they must not share a temporary file, and neither may take the other's lease away.
void write_attempt(const std::filesystem::path& run_directory, std::int64_t attempt) {
  const auto path = run_directory / "attempt";
  const auto aside = own_temporary(path);
  write_durably(aside, std::to_string(attempt) + "\n");
  if (rename(aside.c_str(), path.c_str()) == 0) return;
  const int reason = errno;
  unlink(aside.c_str());
  fail_system(reason, "cannot write {}", path.string());
}

// This thread blocks signals, because requests to stop are for the other threads of the program.
void block_signals() {
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, nullptr);
}

}  // namespace

bool LeaseObserver::held(const std::filesystem::path& run_directory) {
  std::string content;
  const auto owner = look(run_directory, content);
  return owner != Owner::none && owner != Owner::gone;
}

LeaseObserver::Owner LeaseObserver::look(const std::filesystem::path& run_directory, std::string& content) {
  const auto path = run_directory / "lease";
  const auto now = Clock::now();
  auto file = read_lease(path);
  const std::lock_guard lock(mutex_);
  if (file.error == ENOENT || file.error == ENOTDIR) {
    seen_.erase(path);
    return Owner::none;
  }
  if (file.error != 0) {
    content = system_reason(file.error);
    return Owner::unreadable;
  }
  content = std::move(file.content);
  switch (known_of(content, run_directory)) {
    case Known::dead:
    case Known::copied:
      return Owner::gone;
    case Known::alive:
      return Owner::here;
    case Known::nothing:
      break;
  }
  const auto [entry, first] = seen_.try_emplace(path, Sight{content, file.renewed, now});
  auto& sight = entry->second;
  if (sight.content != content || sight.renewed != file.renewed) sight = {content, file.renewed, now, true};
  if (now - sight.since >= silence_) return Owner::gone;
  return sight.changed ? Owner::renewed : Owner::unknown;
}

// It is shared with its threads, because a thread that waits for an unresponsive file system outlives the lease.
struct Lease::Keeper {
  Keeper(std::filesystem::path its_path, std::string its_content, std::int64_t its_attempt)
      : path(std::move(its_path)), content(std::move(its_content)), attempt(its_attempt) {}

  const std::filesystem::path path;
  const std::string content;
  const std::int64_t attempt;
  std::atomic<bool> lost = false, marked = false;
  std::atomic<std::int64_t> confirmed = 0;  // how often the lease was found to be ours, and renewed where it was time

  std::mutex mutex;  // of what follows
  std::condition_variable changed;
  bool stop = false, at_work = true;
  std::string why;      // lost
  std::string trouble;  // the last one
  std::filesystem::path marker;

  bool sleep(std::chrono::milliseconds time) {
    std::unique_lock lock(mutex);
    return !changed.wait_for(lock, time, [this] { return stop; });
  }

  void lose(std::string reason_why) {
    const std::lock_guard lock(mutex);
    if (lost) return;
    why = std::move(reason_why);
    lost = true;
  }

  std::string superseded(const LeaseFile& file) const {
    return fmt::format("attempt {} no longer holds {} and stops without writing; {}", attempt, path.string(),
                       file.error == ENOENT ? "the file is gone" : "it belongs to " + owner_words(file.content));
  }

  void note_trouble(const std::string& what) {
    {
      const std::lock_guard lock(mutex);
      if (!std::exchange(trouble, what).empty()) return;
    }
    log::warning("{}: {}; the run goes on for at most {} s of this", path.string(), what, longest_failure.count());
  }

  void look_for_marker() {
    std::filesystem::path wanted;
    {
      const std::lock_guard lock(mutex);
      wanted = marker;
    }
    struct stat status {};
    if (!wanted.empty()) marked = stat(wanted.c_str(), &status) == 0;
  }

  // The thread that touches files.
  void keep() {
    block_signals();
    auto renewed = Clock::now();
    while (sleep(poll_interval)) {
      const auto file = read_lease(path);
      int error = file.error;
      if (error == 0 && file.content != content) {
        lose(superseded(file));
        break;
      }
      const bool due = Clock::now() - renewed >= renewal;
      if (error == 0 && due && renew(path, content, error)) renewed = Clock::now(), error = 0;
      if (error == 0)
        ++confirmed;
      else
        note_trouble(system_reason(error));
      look_for_marker();
    }
    const std::lock_guard lock(mutex);
    at_work = false;
    changed.notify_all();
  }

  // The thread that judges, whatever the file system does. A process that was stopped notices hardly any time, so its
  // lease is read before it is given up.
  void judge() {
    block_signals();
    std::int64_t before = 0;
    Clock::duration failing{};
    for (auto last = Clock::now(); sleep(poll_interval);) {
      const auto now = Clock::now();
      const auto known = confirmed.load();
      failing =
          known != before ? Clock::duration{} : failing + std::min<Clock::duration>(now - last, 2 * poll_interval);
      before = known;
      last = now;
      if (failing < longest_failure) continue;
      std::unique_lock lock(mutex);
      const auto what = trouble.empty() ? std::string("the file system does not answer") : trouble;
      lock.unlock();
      lose(fmt::format("{} could not be read and renewed for {} s ({}): others may take it, and attempt {} stops",
                       path.string(), longest_failure.count(), what, attempt));
    }
  }
};

Lease::Lease(const std::filesystem::path& run_directory, std::chrono::milliseconds patience,
             std::chrono::milliseconds silence, LeaseWords words)
    : path_(run_directory / "lease"), words_(words) {
  LeaseObserver observer(silence);
  take(run_directory, observer, patience, /*waits=*/true);
  keep(run_directory);
}

Lease::Lease(const std::filesystem::path& run_directory, LeaseObserver& observer) : path_(run_directory / "lease") {
  take(run_directory, observer, std::chrono::milliseconds(0), /*waits=*/false);
  keep(run_directory);
}

void Lease::take(const std::filesystem::path& run_directory, LeaseObserver& observer,
                 std::chrono::milliseconds patience, bool waits) {
  using Owner = LeaseObserver::Owner;
  const auto deadline = Clock::now() + patience;
  std::int64_t last_attempt = attempt_in(read_lease(run_directory / "attempt").content);
  for (bool told = false;;) {
    std::string content;
    const auto owner = observer.look(run_directory, content);
    if (owner == Owner::none || owner == Owner::gone) {
      if (owner == Owner::gone) {
        const bool copied = known_of(content, run_directory) == Known::copied;
        log::info("{}: taking over the lease of {} ({})", run_directory.string(),
                  copied ? "the run that this folder is a copy of" : "a run that is no longer alive",
                  owner_words(content));
        last_attempt = std::max(last_attempt, attempt_in(content));
        remove_stale(path_, content);
      }
      attempt_ = last_attempt + 1;
      content_ = own_content(attempt_, run_directory);
      if (create_exclusively(path_, content_)) return;
    }
    const bool watches = owner == Owner::unknown && waits;
    if (!watches && (owner == Owner::renewed || Clock::now() >= deadline)) {
      if (owner == Owner::unreadable) fail_run("cannot read {}: {}", path_.string(), content);
      fail_input("{} is in use by another {} ({}); wait for it, or choose another {}", run_directory.string(),
                 words_.user, owner_words(content), words_.option);
    }
    if (watches && !std::exchange(told, true))
      log::info("{} was in use elsewhere ({}): waiting up to {} s to see whether that run is alive",
                run_directory.string(), owner_words(content),
                std::chrono::duration_cast<std::chrono::seconds>(observer.silence_).count());
    if (shutdown::requested())
      throw Error(ExitCode::requeue, fmt::format("stopped as asked while waiting for {}", path_.string()));
    std::this_thread::sleep_for(std::chrono::milliseconds(watches ? 200 : 50));
  }
}

void Lease::keep(const std::filesystem::path& run_directory) {
  try {
    write_attempt(run_directory, attempt_);
  } catch (...) {
    if (read_lease(path_).content == content_) unlink(path_.c_str());
    throw;
  }
  keeper_ = std::make_shared<Keeper>(path_, content_, attempt_);
  std::thread([keeper = keeper_] { keeper->keep(); }).detach();
  std::thread([keeper = keeper_] { keeper->judge(); }).detach();
}

Lease::~Lease() {
  constexpr std::chrono::seconds longest_wait{2};
  std::unique_lock lock(keeper_->mutex);
  keeper_->stop = true;
  keeper_->changed.notify_all();
  const bool answers = keeper_->changed.wait_for(lock, longest_wait, [this] { return !keeper_->at_work; });
  lock.unlock();
  if (answers && read_lease(path_).content == content_) unlink(path_.c_str());
}

bool Lease::held(const std::filesystem::path& run_directory) {
  return LeaseObserver().held(run_directory);
}

void Lease::check() const {
  if (!keeper_->lost) return;
  const std::lock_guard lock(keeper_->mutex);
  throw Error(ExitCode::run_failed, keeper_->why);
}

// A file that cannot be read is still ours until the keeper gives up, because nobody takes it sooner.
void Lease::require() const {
  constexpr std::chrono::seconds longest_absence{2};  // another process that checks for a stale lease may have moved it
  for (const auto begin = Clock::now();;) {
    check();
    const auto file = read_lease(path_);
    if (file.error == 0 && file.content == content_) return;
    if (file.error != 0 && file.error != ENOENT) return;
    if (file.error == 0 || Clock::now() - begin > longest_absence)
      throw Error(ExitCode::run_failed, keeper_->superseded(file));
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
}

bool Lease::still_ours() const {
  const auto file = read_lease(path_);
  return !keeper_->lost && (file.error == 0 ? file.content == content_ : file.error != ENOENT);
}

void Lease::watch(const std::filesystem::path& marker) {
  struct stat status {};
  const std::lock_guard lock(keeper_->mutex);
  keeper_->marker = marker;
  keeper_->marked = stat(marker.c_str(), &status) == 0;
}

bool Lease::marked() const {
  return keeper_->marked;
}

}  // namespace spankey
