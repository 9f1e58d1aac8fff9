// One writer per run directory: the file `lease` names the process that owns it. The file `attempt` keeps the number of
// the last attempt, for the attempts after a clean end.
//
// No clocks are compared. The owner renews its lease every 5 s, which changes the file's time; whoever wants the folder
// watches whether that happens.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <string>

namespace spankey {

// Tells whether the owners of run directories live, from what it sees of their leases while it exists. May be used by
// several threads.
class LeaseObserver {
 public:
  // An owner whose lease does not change for so long, while it is looked at, is gone.
  explicit LeaseObserver(std::chrono::milliseconds silence = std::chrono::seconds(35)) : silence_(silence) {}

  // One look, without waiting. True where the folder has an owner that is not known to be gone: a live process of this
  // machine, or one elsewhere until its lease has been seen unchanged for long enough.
  bool held(const std::filesystem::path& run_directory);

 private:
  friend class Lease;
  enum class Owner { none, gone, unknown, here, renewed, unreadable };  // here: a live process of this machine
  struct Sight {
    std::string content;
    std::int64_t renewed = 0;  // the file's time, in nanoseconds of whatever clock: it changes or it does not
    std::chrono::steady_clock::time_point since;
    bool changed = false;  // since it was first seen
  };

  Owner look(const std::filesystem::path& run_directory, std::string& content);

  std::chrono::milliseconds silence_;
  std::mutex mutex_;
  std::map<std::filesystem::path, Sight> seen_;
};

// Held by rank 0 for as long as the object lives. The file holds host, boot id, pid and start time of the process, and
// device and inode of the folder. No flock: NFS does not promise it.
class Lease {
 public:
  // Takes over at once what a dead process of this machine has left, or what was copied with the folder. An owner
  // elsewhere is watched, and taken over after `silence` without a sign of life. Error(bad_input) names an owner that
  // lives; of this machine after `patience`: the ranks of a launcher that was killed may take that long to notice, and
  // a restart right after it is not refused for them. Error(requeue) where a request to stop comes in while it waits.
  explicit Lease(const std::filesystem::path& run_directory,
                 std::chrono::milliseconds patience = std::chrono::seconds(3),
                 std::chrono::milliseconds silence = std::chrono::seconds(35));
  // Without waiting: what `observer` knows to be gone is taken over, anything else refused.
  Lease(const std::filesystem::path& run_directory, LeaseObserver& observer);
  ~Lease();
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;

  // Counts from 1.
  std::int64_t attempt() const { return attempt_; }

  // What the lease's own thread has found so far; touches no file. Error(run_failed) once the file belongs to another
  // attempt, or could not be read and renewed for 25 s, after which others may take it.
  void check() const;
  // Looks at the file now, again and again for 25 s where it cannot be read. Error(run_failed) as from check().
  void require() const;
  // False once another attempt has taken the file, or it is gone: this one must stop without writing.
  bool still_ours() const;

  // From now on the lease's thread looks for this file as well, twice a second; whether it has seen it.
  void watch(const std::filesystem::path& marker);
  bool marked() const;

  // A single look: true where the folder has an owner that is not known to be gone, see LeaseObserver.
  static bool held(const std::filesystem::path& run_directory);

 private:
  struct Keeper;

  void take(const std::filesystem::path& run_directory, LeaseObserver& observer, std::chrono::milliseconds patience,
            bool waits);
  void keep(const std::filesystem::path& run_directory);

  std::filesystem::path path_;
  std::int64_t attempt_ = 1;
  std::string content_;
  std::shared_ptr<Keeper> keeper_;
};

}  // namespace spankey
