#include "record/run_directory.h"

#include <fmt/format.h>

#include <algorithm>
#include <regex>
#include <system_error>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"

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

std::filesystem::path checkpoint_path(const std::filesystem::path& folder, std::int64_t global_step) {
  return folder / fmt::format("step_{:08d}.h5", global_step);
}

std::vector<std::filesystem::path> list_checkpoints(const std::filesystem::path& folder) {
  static const std::regex name_form("step_[0-9]{8,}\\.h5");
  std::vector<std::filesystem::path> found;
  std::error_code error;
  // A folder that cannot be read must not count as empty, or a run would start again from nothing.
  for (std::filesystem::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error))
    if (std::regex_match(entry->path().filename().string(), name_form)) found.push_back(entry->path());
  if (error && error != std::errc::no_such_file_or_directory) fail_system(error, "{} cannot be read", folder.string());
  // Longer names hold larger steps. Names of one length sort as their numbers do.
  std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) {
    const auto x = a.filename().string(), y = b.filename().string();
    return x.size() != y.size() ? x.size() > y.size() : x > y;
  });
  return found;
}

std::filesystem::path default_run_directory(const std::filesystem::path& config_file, const std::string& config_hash) {
  return std::filesystem::path("runs") / (config_file.stem().string() + "-" + config_hash.substr(0, 8));
}

}  // namespace spankey
