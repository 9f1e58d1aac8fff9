// The files of a rotation, in which an owner's model gets a new basis. It is prepared in a folder beside the owner's,
// OWNER_DIR.rotation:
//   plan.json   of which model
//   run/        run directory of the training; the new basis lies in its secret/
//   next/       the owner's folder as it will be, once it is whole (OwnerFolder::create)
// The switch exchanges OWNER_DIR and next/ in one system call. A rotation that is killed before it has changed nothing
// that anybody reads, and one that is killed after it lacks only the last step: the old folder moves to
// OWNER_DIR/retired/MODEL, where leaked keys can still be traced with it, and the rest is removed.
#pragma once

#include <filesystem>
#include <string>

namespace spankey {

class Rotation {
 public:
  // Error(bad_input) where there is no such folder.
  explicit Rotation(const std::filesystem::path& owner_directory);

  const std::filesystem::path& owner() const { return owner_; }
  const std::filesystem::path& root() const { return root_; }
  std::filesystem::path run() const { return root_ / "run"; }
  std::filesystem::path next() const { return root_ / "next"; }
  // Where the folder of a model of this id goes after the switch.
  std::filesystem::path retired(const std::string& model_id) const;

  enum class Stage { none, begun, switched };
  // How far it has come, where OWNER_DIR now holds the model `model_id`. Error(bad_input) where OWNER_DIR.rotation is
  // of another model or not of this program.
  Stage stage(const std::string& model_id) const;

  // Makes the folder of mode 0700, where there is none. Error(bad_input) where the file system cannot exchange two
  // folders, so that this shows before anything is trained.
  void begin(const std::string& model_id) const;

  // Removes next/ and what a killed attempt has left of it, so that it can be made again.
  void clear_next() const;

  // The switch. next/ must be there.
  void publish() const;

  // The last step, which may be repeated.
  void finish() const;

  // Removes OWNER_DIR.rotation before the switch.
  void discard() const;

 private:
  std::string planned_model() const;

  std::filesystem::path owner_, root_;
};

}  // namespace spankey
