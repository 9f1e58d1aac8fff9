// A lease allows one writer per run directory. The file `lease` names the process that owns it. The file `attempt`
// keeps the number of the last attempt, so that attempts are counted on after a clean end.
//
// No clocks are compared. The owner renews its lease every 5 s, which changes the file's time. Another process that
// wants the folder watches whether that happens.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

namespace spankey {

// Tells whether the owners of run directories are alive, judged by what it sees of their leases while it exists.
// Several threads may use it.
class LeaseObserver {
 public:
  // An owner is gone if its lease has not changed for `silence` while it was watched.
  explicit LeaseObserver(std::chrono::milliseconds silence = std::chrono::seconds(35)) : silence_(silence) {}

  // Looks once, without waiting. True where the folder has an owner that is not known to be gone. That is a live
  // process of this machine, or a process elsewhere until its lease has been seen unchanged for long enough.
  bool held(const std::filesystem::path& run_directory);

 private:
  friend class Lease;
  enum class Owner { none, gone, unknown, here, renewed, unreadable };  // `here` means a live process of this machine
  struct Sight {
    std::string content;
    std::int64_t renewed = 0;  // the file's time in nanoseconds, used only to see changes
    std::chrono::steady_clock::time_point since;
    bool changed = false;  // since it was first seen
  };

  Owner look(const std::filesystem::path& run_directory, std::string& content);

  std::chrono::milliseconds silence_;
  std::mutex mutex_;
  std::map<std::filesystem::path, Sight> seen_;
};

// What the refusal of a second user calls the first, and the option that names another folder.
struct LeaseWords {
  std::string_view user = "run", option = "--run-dir";
};

// Rank 0 holds this for as long as the object lives. The file holds host, boot id, pid and start time of the process,
// and device and inode of the folder. There is no flock, because NFS does not promise it.
class Lease {
 public:
  // Takes over at once what a dead process of this machine has left, or what was copied with the folder. An owner on
  // another machine is watched, and its lease is taken over after `silence` without a sign of life. Error(bad_input)
  // names an owner that is alive. An owner on this machine is given `patience` to end, because the ranks of a launcher
  // that was killed may take that long to notice, and a restart right after it should not be refused because of them.
  // Error(requeue) is thrown if a request to stop arrives during the wait.
  explicit Lease(const std::filesystem::path& run_directory,
                 std::chrono::milliseconds patience = std::chrono::seconds(3),
                 std::chrono::milliseconds silence = std::chrono::seconds(35), LeaseWords words = {});
  // Does not wait. It takes over what `observer` knows to be gone and refuses anything else.
  Lease(const std::filesystem::path& run_directory, LeaseObserver& observer);
  ~Lease();
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;

  // Number of this attempt, counted from 1.
  std::int64_t attempt() const { return attempt_; }

  // Reports what the lease's own thread has found so far and touches no file. Throws Error(run_failed) once the file
  // belongs to another attempt, or once it could not be read and renewed for 25 s, after which others may take it.
  void check() const;
  // Looks at the file now and, where it cannot be read, tries again for 25 s. Throws Error(run_failed) as check() does.
  void require() const;
  // False once another attempt has taken the file, or once it is gone. This attempt must then stop without writing.
  bool still_ours() const;

  // After watch() the lease's thread also looks for `marker`, twice a second. marked() says whether it has seen it.
  void watch(const std::filesystem::path& marker);
  bool marked() const;

  // Looks once. True where the folder has an owner that is not known to be gone, see LeaseObserver.
  static bool held(const std::filesystem::path& run_directory);

 private:
  struct Keeper;

  void take(const std::filesystem::path& run_directory, LeaseObserver& observer, std::chrono::milliseconds patience,
            bool waits);
  void keep(const std::filesystem::path& run_directory);

  std::filesystem::path path_;
  LeaseWords words_;
  std::int64_t attempt_ = 1;
  std::string content_;
  std::shared_ptr<Keeper> keeper_;
};

}  // namespace spankey
