#include "keyring/rotation.h"

#include <fcntl.h>
#include <nlohmann/json.hpp>
#include <stdio.h>

#include <algorithm>
#include <array>
#include <span>

#include "base/error.h"
#include "base/file.h"
#include "keyring/owner_folder.h"
#include "keyring/secret_file.h"

namespace spankey {
namespace {

constexpr std::string_view plan_name = "plan.json";
constexpr std::array<std::string_view, 2> trial_names = {"trial", "other"};

std::filesystem::path folder_of(const std::filesystem::path& path) {
  std::error_code failed;
  const auto folder = std::filesystem::canonical(path, failed);
  if (failed || !std::filesystem::is_directory(folder))
    fail_input("{}: no such folder; accepted: the folder of an owner (key init)", path.string());
  return folder;
}

// Exchanges two folders of one file system.
int exchange_folders(const std::filesystem::path& a, const std::filesystem::path& b) {
  return renameat2(AT_FDCWD, a.c_str(), AT_FDCWD, b.c_str(), RENAME_EXCHANGE) == 0 ? 0 : errno;
}

void move_folder(const std::filesystem::path& from, const std::filesystem::path& to) {
  std::error_code failed;
  std::filesystem::rename(from, to, failed);
  if (failed) fail_system(failed, "{} cannot be moved to {}", from.string(), to.string());
  make_renames_durable(from.parent_path());
  make_renames_durable(to.parent_path());
}

void remove_tree(const std::filesystem::path& path) {
  std::error_code failed;
  std::filesystem::remove_all(path, failed);
  if (failed) fail_system(failed, "{} cannot be removed", path.string());
}

// What an attempt leaves that was killed before it had written its plan.
bool holds_nothing_but_trials(const std::filesystem::path& folder) {
  std::error_code failed;
  const std::filesystem::directory_iterator entries(folder, failed);
  if (failed) fail_system(failed, "{}", folder.string());
  return std::all_of(begin(entries), end(entries), [](const std::filesystem::directory_entry& entry) {
    const auto name = entry.path().filename().string();
    return name == trial_names[0] || name == trial_names[1] || name == fmt::format("{}.tmp", plan_name);
  });
}

}  // namespace

Rotation::Rotation(const std::filesystem::path& owner_directory)
    : owner_(folder_of(owner_directory)), root_(owner_.string() + ".rotation") {}

std::filesystem::path Rotation::retired(const std::string& model_id) const {
  return owner_ / "retired" / model_id.substr(0, 16);
}

std::string Rotation::planned_model() const {
  const auto path = root_ / plan_name;
  const auto plan = read_json(path);
  const auto model_id = plan.value("model_id", nlohmann::json());
  // It becomes the name of a folder.
  if (!model_id.is_string() || model_id.get<std::string>().size() != 64 ||
      model_id.get<std::string>().find_first_not_of("0123456789abcdef") != std::string::npos)
    fail_input("{}: model_id is missing or no digest; accepted: the plan of a rotation", path.string());
  return model_id;
}

Rotation::Stage Rotation::stage(const std::string& model_id) const {
  if (!std::filesystem::exists(root_) || holds_nothing_but_trials(root_)) return Stage::none;
  const auto planned = planned_model();
  if (planned == model_id) return Stage::begun;
  const bool replaced = std::filesystem::exists(next()) ? read_owner_header_of({next()}).model_id == planned
                                                        : std::filesystem::exists(retired(planned));
  if (!replaced)
    fail_input("{} is a rotation of the model {:.16}, and {} holds {:.16}; accepted: no such folder, or the right one",
               root_.string(), planned, owner_.string(), model_id);
  return Stage::switched;
}

void Rotation::begin(const std::string& model_id) const {
  if (stage(model_id) != Stage::none) return;
  if (!std::filesystem::exists(root_)) make_secret_folder(root_);
  const auto trial = root_ / trial_names[0], other = root_ / trial_names[1];
  remove_tree(trial);
  remove_tree(other);
  make_secret_folder(trial);
  make_secret_folder(other);
  if (const int error = exchange_folders(trial, other); error != 0)
    fail_input(
        "{}: this file system cannot exchange two folders in one step ({}); accepted: one that can, such as "
        "ext4, xfs, btrfs or tmpfs",
        root_.string(), system_reason(error));
  const auto text = nlohmann::json{{"model_id", model_id}}.dump() + "\n";
  write_secret_durably(root_ / plan_name, std::as_bytes(std::span(text)));
  remove_tree(trial);
  remove_tree(other);
}

void Rotation::clear_next() const {
  remove_tree(next());
  remove_tree(next().string() + ".tmp");
}

void Rotation::publish() const {
  if (const int error = exchange_folders(owner_, next()); error != 0)
    fail_system(error, "{} and {} cannot be exchanged", owner_.string(), next().string());
  make_renames_durable(owner_.parent_path());
  make_renames_durable(root_);
}

void Rotation::finish() const {
  const auto planned = planned_model();
  if (std::filesystem::exists(next())) {
    // Folders of earlier rotations stay together.
    const auto earlier = next() / "retired", kept = owner_ / "retired";
    if (std::filesystem::exists(earlier) && !std::filesystem::exists(kept)) move_folder(earlier, kept);
    if (!std::filesystem::exists(kept)) make_secret_folder(kept);
    for (const char* ours : {"lease", "attempt"}) std::filesystem::remove(next() / ours);
    move_folder(next(), retired(planned));
  }
  remove_tree(run());
  clear_next();
  // One step takes the plan out of sight. What is left of it tells nobody anything and may stay behind.
  const auto remains = retired(planned) / "rotation";
  remove_tree(remains);
  move_folder(root_, remains);
  remove_tree(remains);
}

// The plan goes last, so that a killed attempt is known for what it is.
void Rotation::discard() const {
  remove_tree(run());
  clear_next();
  remove_tree(root_);
}

}  // namespace spankey
