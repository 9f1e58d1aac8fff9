#include "keyring/owner_folder.h"

#include <unistd.h>

#include <cerrno>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "keyring/container.h"
#include "keyring/key_facts.h"
#include "keyring/secret_file.h"

namespace spankey {
namespace {

constexpr std::size_t most_secret_bytes = most_registry_bytes + 2 * most_header_bytes;
constexpr std::size_t most_audit_bytes = std::size_t{1} << 30;
constexpr std::size_t most_list_bytes = std::size_t{64} << 20;

std::string_view event_of(RecordKind kind) {
  switch (kind) {
    case RecordKind::issued:
      return "issue";
    case RecordKind::revoked:
      return "revoke";
    case RecordKind::returned:
      return "unrevoke";
  }
  fail_run("a record of an unknown kind");
}

std::string text_of(const std::vector<std::byte>& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::unique_ptr<Lease> take_owner_lease(const OwnerPaths& paths) {
  try {
    return std::make_unique<Lease>(paths.root);
  } catch (const Error& error) {
    if (error.code() != ExitCode::bad_input) throw;
    fail_input("{}: another command is at work in this folder; wait for it ({})", paths.root.string(), error.what());
  }
}

void write_text_secret(const std::filesystem::path& path, const std::string& text) {
  write_secret_durably(path, std::as_bytes(std::span(text)));
}

void write_list(const OwnerPaths& paths, const Registry& registry, const Owner& owner, std::int64_t now) {
  write_durably(paths.revocations(), write_revocations(registry.revocations(owner, now), owner.signing_key()));
}

// Adds a line for each record of the registry that has none.
void add_missing_lines(AuditLog& audit, const Registry& registry, std::int64_t now) {
  for (auto record = audit.records(); record < registry.records().size(); ++record) {
    const auto& of = registry.records()[static_cast<std::size_t>(record)];
    nlohmann::json details{{"record", record + 1}, {"serial", of.serial}};
    if (of.kind == RecordKind::issued) details["name"] = of.text;
    if (of.kind == RecordKind::revoked) details["reason"] = of.text;
    audit.add(event_of(of.kind), std::move(details), now);
  }
}

}  // namespace

Owner read_owner_header_of(const OwnerPaths& paths) {
  if (!std::filesystem::exists(std::filesystem::symlink_status(paths.owner())))
    fail_input("{}: no owner.sks there; accepted: the folder that spankey key init has made", paths.root.string());
  return read_owner_header(read_sealed_file(paths.owner(), most_secret_bytes), paths.owner().string());
}

RevocationList read_revocations_file(const std::filesystem::path& path) {
  return read_revocations(read_sealed_file(path, most_list_bytes), path.string());
}

OwnerPaths begin_owner_folder(const std::filesystem::path& root) {
  if (std::filesystem::exists(std::filesystem::symlink_status(root)))
    fail_input("{} exists already; accepted: the name of a new folder", root.string());
  const OwnerPaths unfinished{root.string() + ".tmp"};
  // Nothing but what such an attempt can have left.
  for (const auto& file : {unfinished.owner(), unfinished.model(), unfinished.challenge(), unfinished.registry(),
                           unfinished.revocations(), unfinished.audit()}) {
    ::unlink(file.c_str());
    ::unlink((file.string() + ".tmp").c_str());
  }
  ::rmdir(unfinished.root.c_str());
  make_secret_folder(unfinished.root);
  return unfinished;
}

void finish_owner_folder(const OwnerPaths& unfinished, const std::filesystem::path& root) {
  if (::rename(unfinished.root.c_str(), root.c_str()) != 0) fail_system(errno, "cannot create {}", root.string());
}

void OwnerFolder::create(const OwnerPaths& paths, Owner owner, const SecretBytes& passphrase, const Argon2Cost& cost,
                         std::int64_t now, const OwnerFiles& more) {
  const auto unfinished = begin_owner_folder(paths.root);
  const Registry registry;
  AuditLog audit;
  audit.add("init",
            {{"model_id", owner.model_id}, {"owner", hex_text(owner.public_key)}, {"laboratory", owner.laboratory}},
            now);
  owner.audit = audit.head();
  if (more) more(unfinished, owner);
  write_secret_durably(unfinished.registry(), registry.write(owner));
  write_list(unfinished, registry, owner, now);
  write_text_secret(unfinished.audit(), audit.text());
  write_secret_durably(unfinished.owner(), write_owner(owner, OwnerLock::fresh(passphrase, cost)));
  finish_owner_folder(unfinished, paths.root);
}

OwnerFolder::OwnerFolder(const OwnerPaths& paths, const SecretBytes& passphrase, Access access, std::int64_t now)
    : paths_(paths) {
  read_owner_header_of(paths);  // before anything is written, such as a lease into a folder of another kind
  if (access == Access::write) lease_ = take_owner_lease(paths);
  auto opened = open_owner(read_sealed_file(paths.owner(), most_secret_bytes), passphrase, paths.owner().string());
  owner_ = std::move(opened.owner);
  lock_ = std::move(opened.lock);
  registry_ = Registry::read(read_sealed_file(paths.registry(), most_secret_bytes), owner_, paths.registry().string());
  audit_ = AuditLog::read(text_of(read_sealed_file(paths.audit(), most_audit_bytes)), paths.audit().string());
  if (!audit_.has_passed(owner_.audit) || audit_.records() > registry_.records().size())
    fail_input("{}: the log has been rolled back or exchanged: it has {} lines, and owner.sks knows of {}",
               paths.audit().string(), audit_.head().records, owner_.audit.records);
  if (access == Access::write) catch_up(now);
}

void OwnerFolder::require_write() const {
  SPANKEY_CHECK(lease_ != nullptr);
  lease_->require();
}

void OwnerFolder::write_what_follows(std::int64_t now) {
  add_missing_lines(audit_, registry_, now);
  write_text_secret(paths_.audit(), audit_.text());
  owner_.registry = registry_.head();
  owner_.next_serial = registry_.next_serial();
  owner_.audit = audit_.head();
  write_secret_durably(paths_.owner(), write_owner(owner_, lock_));
}

void OwnerFolder::catch_up(std::int64_t now) {
  const auto wanted = registry_.revocations(owner_, now);
  bool stale = !std::filesystem::exists(paths_.revocations());
  if (!stale) {
    const auto list = read_revocations_file(paths_.revocations());
    if (list.owner != owner_.public_key || list.model_id != owner_.model_id)
      fail_input("{}: the list is another owner's or of another model", paths_.revocations().string());
    stale = list.sequence != wanted.sequence;
  }
  if (stale) write_list(paths_, registry_, owner_, now);
  const auto behind = registry_.records().size() - owner_.registry.records;
  const bool ahead = audit_.head().records > owner_.audit.records;
  if (!stale && behind == 0 && !ahead) return;
  for (auto record = owner_.registry.records; record < registry_.records().size(); ++record)
    if (const auto& of = registry_.records()[static_cast<std::size_t>(record)]; of.kind == RecordKind::issued)
      log::warning(
          "key {} of {} was being issued when the command was killed: where its file is missing, revoke the "
          "serial and issue another",
          of.serial, of.text);
  log::info("{}: finished what a command that was killed had begun ({})", paths_.root.string(),
            counted(static_cast<std::int64_t>(behind), "record"));
  write_what_follows(now);
}

void OwnerFolder::commit(Registry changed, std::int64_t now, const std::function<void()>& follow) {
  require_write();
  SPANKEY_CHECK(changed.has_passed(registry_.head()));
  const auto sequence_before = registry_.revocations(owner_, now).sequence;
  write_secret_durably(paths_.registry(), changed.write(owner_));
  registry_ = std::move(changed);
  if (follow) follow();
  if (registry_.revocations(owner_, now).sequence != sequence_before) write_list(paths_, registry_, owner_, now);
  write_what_follows(now);
}

void OwnerFolder::note(std::string_view event, nlohmann::json details, std::int64_t now) {
  require_write();
  audit_.add(event, std::move(details), now);
  write_what_follows(now);
}

void OwnerFolder::sign_audit(std::int64_t now) {
  require_write();
  audit_.sign(owner_.signing_key(), now);
  write_what_follows(now);
}

}  // namespace spankey
