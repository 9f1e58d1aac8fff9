// The folder of an owner and the order in which its files are written:
//   registry.skr first, then what follows from it (user.skk, revoked.skl), then audit.log, owner.sks last.
// Each is replaced as a whole. A command that is killed leaves the registry ahead of the others, and the next command
// that writes brings them up to it.
#pragma once

#include <nlohmann/json.hpp>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/lease.h"
#include "keyring/audit_log.h"
#include "keyring/owner_file.h"
#include "keyring/registry.h"
#include "keyring/revocations.h"

namespace spankey {

struct OwnerPaths {
  std::filesystem::path root;  // mode 0700

  std::filesystem::path owner() const { return root / "owner.sks"; }          // mode 0600
  std::filesystem::path model() const { return root / "model.skm"; }          // mode 0644
  std::filesystem::path challenge() const { return root / "challenge.h5"; }   // mode 0600
  std::filesystem::path registry() const { return root / "registry.skr"; }    // mode 0600
  std::filesystem::path revocations() const { return root / "revoked.skl"; }  // mode 0644
  std::filesystem::path audit() const { return root / "audit.log"; }          // mode 0600
};

// The header of owner.sks, for which no passphrase is needed and which nothing proves. Error(bad_input) where the
// folder is none of an owner.
Owner read_owner_header_of(const OwnerPaths& paths);

// A list of revoked keys from a file, at most 64 MiB.
RevocationList read_revocations_file(const std::filesystem::path& path);

// A new folder is filled under another name and gets its own when it is whole. begin_owner_folder() returns that other
// folder, of mode 0700, empty. What an attempt that was killed has left is removed. Error(bad_input) where anything of
// the name `root` exists.
OwnerPaths begin_owner_folder(const std::filesystem::path& root);
void finish_owner_folder(const OwnerPaths& unfinished, const std::filesystem::path& root);

// Writes further files of a new owner, such as model.skm.
using OwnerFiles = std::function<void(const OwnerPaths&, const Owner&)>;

// An opened folder. One that may write holds its lease, so that a second one is refused meanwhile.
class OwnerFolder {
 public:
  enum class Access { read, write };

  // Makes the folder with all its files, or leaves nothing of that name. Error(bad_input) where anything of that name
  // exists.
  static void create(const OwnerPaths& paths, Owner owner, const SecretBytes& passphrase, const Argon2Cost& cost,
                     std::int64_t now, const OwnerFiles& more = {});

  // Error(bad_input) where a file is missing, damaged, another owner's, or rolled back, or the passphrase is wrong.
  // With Access::write it then finishes what a command that was killed has begun.
  OwnerFolder(const OwnerPaths& paths, const SecretBytes& passphrase, Access access, std::int64_t now);

  const OwnerPaths& paths() const { return paths_; }
  const Owner& owner() const { return owner_; }
  const Registry& registry() const { return registry_; }
  const AuditLog& audit() const { return audit_; }

  // Commits a changed registry: registry.skr, then what `follow` writes (key files), revoked.skl where keys were
  // revoked or returned, audit.log with a line for each new record, owner.sks. `follow` sees the changed registry.
  void commit(Registry changed, std::int64_t now, const std::function<void()>& follow = {});
  // Adds one line to audit.log. `details`: an object without secrets.
  void note(std::string_view event, nlohmann::json details, std::int64_t now);
  // Signs audit.log as it stands.
  void sign_audit(std::int64_t now);

 private:
  void require_write() const;
  void catch_up(std::int64_t now);
  void write_what_follows(std::int64_t now);

  OwnerPaths paths_;
  std::unique_ptr<Lease> lease_;
  Owner owner_;
  OwnerLock lock_;
  Registry registry_;
  AuditLog audit_;
};

}  // namespace spankey
