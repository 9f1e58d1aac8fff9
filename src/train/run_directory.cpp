#include "train/run_directory.h"

#include <vector>

#include "base/file.h"
#include "base/log.h"
#include "base/system_error.h"

namespace spankey {

void RunDirectory::create() const {
  make_writable_folder(root);
  make_writable_folder(checkpoints());
  make_writable_folder(log());
  make_writable_folder(secret());
  std::error_code failed;
  std::filesystem::permissions(secret(), std::filesystem::perms::owner_all, failed);
  if (failed) fail_system(failed, "{}: mode 0700 cannot be set", secret().string());
}

void RunDirectory::remove_litter() const {
  for (const auto& folder : {root, checkpoints(), secret()}) {
    std::vector<std::filesystem::path> litter;
    for (const auto& entry : std::filesystem::directory_iterator(folder))
      if (entry.is_regular_file() && entry.path().extension() == ".tmp") litter.push_back(entry.path());
    for (const auto& path : litter) {
      std::error_code failed;
      if (std::filesystem::remove(path, failed))
        log::info("removed {}, left by an attempt that was killed", path.string());
      if (failed) log::warning("{} could not be removed: {}", path.string(), failed.message());
    }
  }
}

std::filesystem::path default_run_directory(const std::filesystem::path& config_file, const std::string& config_hash) {
  return std::filesystem::path("runs") / (config_file.stem().string() + "-" + config_hash.substr(0, 8));
}

}  // namespace spankey
