// One writer per run directory: the file `lease` names the process that owns it.
#pragma once

#include <condition_variable>
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
  explicit Lease(const std::filesystem::path& run_directory);
  ~Lease();
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;

  // False once another attempt has taken the file: this one must stop without writing.
  bool still_ours() const;

 private:
  void renew_until_stopped();

  std::filesystem::path path_;
  std::string content_;
  std::mutex mutex_;
  std::condition_variable stopped_;
  bool stop_ = false;
  std::thread renewer_;
};

}  // namespace spankey
