#include "train/run_directory.h"

#include "base/error.h"
#include "base/file.h"

namespace spankey {

void RunDirectory::create() const {
  make_writable_folder(root);
  make_writable_folder(checkpoints());
  make_writable_folder(log());
  make_writable_folder(secret());
  std::error_code failed;
  std::filesystem::permissions(secret(), std::filesystem::perms::owner_all, failed);
  if (failed) fail_input("{}: mode 0700 cannot be set: {}", secret().string(), failed.message());
}

std::filesystem::path default_run_directory(const std::filesystem::path& config_file, const std::string& config_hash) {
  return std::filesystem::path("runs") / (config_file.stem().string() + "-" + config_hash.substr(0, 8));
}

}  // namespace spankey
