// The folder of an owner and the order in which its files are written:
//   registry.skr first, then what follows from it (user.skk, revoked.skl), then audit.log, owner.sks last.
// Each is replaced as a whole. A command that is killed leaves the registry ahead of the others, and the next command
// that writes brings them up to it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/lease.h"
#include "keyring/audit_log.h"
#include "keyring/owner_file.h"
#include "keyring/registry.h"
#include "keyring/revocations.h"

namespace spankey {

struct OwnerPaths {
  std::filesystem::path root;

  std::filesystem::path owner() const { return root / "owner.sks"; }
  std::filesystem::path model() const { return root / "model.skm"; }
  std::filesystem::path registry() const { return root / "registry.skr"; }
  std::filesystem::path revocations() const { return root / "revoked.skl"; }
  std::filesystem::path audit() const { return root / "audit.log"; }
};

inline constexpr std::size_t most_owner_bytes = std::size_t{1} << 30;

// The header of owner.sks, without the passphrase.
Owner read_owner_header_of(const OwnerPaths& paths);
// revoked.skl, which must be of this owner and model.
RevocationList read_revocations_of(const OwnerPaths& paths, const Owner& header);

// An opened folder. One that may write holds its lease: a second one is refused.
class OwnerFolder {
 public:
  enum class Access { read, write };

  // Writes owner.sks and empty registry, list and log into `paths.root`, an empty folder of mode 0700 that exists.
  static void create(const OwnerPaths& paths, Owner owner, const SecretBytes& passphrase, const Argon2Cost& cost,
                     std::int64_t now);

  // Error(bad_input) where a file is missing, damaged, of another owner, or rolled back, or the passphrase is wrong.
  OwnerFolder(const OwnerPaths& paths, const SecretBytes& passphrase, Access access, std::int64_t now);

  const OwnerPaths& paths() const { return paths_; }
  const Owner& owner() const { return owner_; }
  const Registry& registry() const { return registry_; }
  const AuditLog& audit() const { return audit_; }

  // Commits a changed registry: registry.skr, then `follow` (which writes key files), revoked.skl where it differs,
  // audit.log with a line for each new record, owner.sks.
  void commit(Registry changed, std::int64_t now, const std::function<void()>& follow = {});
  // Adds one line to audit.log and writes it.
  void note(std::string_view event, nlohmann::json details, std::int64_t now);
  // Signs audit.log.
  void sign_audit(std::int64_t now);

 private:
  void catch_up(std::int64_t now);
  void write_audit();

  OwnerPaths paths_;
  std::unique_ptr<Lease> lease_;
  Owner owner_;
  OwnerLock lock_;
  Registry registry_;
  AuditLog audit_;
};

}  // namespace spankey
