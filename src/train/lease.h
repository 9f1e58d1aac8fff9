// One writer per run directory: the file `lease` names the process that owns it. The file `attempt` keeps the number of
// the last attempt, for the attempts after a clean end.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <filesystem>
#include <mutex>
#include <string>
#include <thread>

namespace spankey {

// Held by rank 0 for as long as the object lives. The file holds host, boot id, pid and start time of the process.
// A lease of a dead process on this host is taken over at once; one of another host once it has not been renewed for
// 30 s; otherwise the constructor throws Error(bad_input) that names the owner. No flock: NFS does not promise it.
class Lease {
 public:
  // `patience`: how long the ranks of a launcher that was killed may take to notice; a restart right after it is not
  // refused for that.
  explicit Lease(const std::filesystem::path& run_directory,
                 std::chrono::milliseconds patience = std::chrono::seconds(3));
  ~Lease();
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;

  // Counts from 1.
  std::int64_t attempt() const { return attempt_; }

  // False once another attempt has taken the file: this one must stop without writing.
  bool still_ours() const;
  // Error(run_failed) unless still_ours(), with the owner.
  void require() const;

  // True where the folder has an owner that is not known to be gone.
  static bool held(const std::filesystem::path& run_directory);

 private:
  void renew_until_stopped();

  void take(const std::filesystem::path& run_directory, std::chrono::milliseconds patience);

  std::filesystem::path path_;
  std::int64_t attempt_ = 1;
  std::string content_;
  std::mutex mutex_;
  std::condition_variable stopped_;
  bool stop_ = false;
  std::thread renewer_;
};

}  // namespace spankey
