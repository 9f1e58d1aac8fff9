#include "keyring/issue.h"

#include <set>

#include "base/error.h"
#include "base/file.h"
#include "base/secret.h"
#include "base/text.h"
#include "keyring/key_facts.h"
#include "keyring/valid_key.h"

namespace spankey {
namespace {

void check_request(const IssueRequest& request) {
  require_utf8(request.name, "name of a key's holder");
  if (request.name.empty() || request.name.size() > most_name_bytes || escaped(request.name) != request.name)
    fail_input("'{}' is no name of a key's holder; accepted: 1 to {} bytes of text on one line", escaped(request.name),
               most_name_bytes);
  if (request.not_before < 0 || request.not_after <= request.not_before || request.not_after > latest_time)
    fail_input("a key for {} from {} to {} would never be valid", request.name, request.not_before, request.not_after);
  if (std::filesystem::exists(std::filesystem::symlink_status(request.out)))
    fail_input("{} exists already; accepted: the name of a new file", request.out.string());
}

UserKey make_user_key(const Owner& owner, const KeyIssuer& issuer, const SecretBytes& alphas, const IssuedKey& issued) {
  UserKey key{.serial = issued.serial,
              .name = issued.name,
              .model_id = owner.model_id,
              .issued_at = issued.issued_at,
              .not_before = issued.not_before,
              .not_after = issued.not_after,
              .key_digest = {},
              .laboratory = owner.laboratory,
              .sites = owner.sites,
              .vectors = key_vectors(owner, issuer, alphas, issued.serial)};
  key.key_digest = vectors_digest(key.sites, key.vectors.bytes());
  return key;
}

}  // namespace

// The vectors are made twice, before and after the registry is written, so that a thousand of them need not be kept in
// locked memory.
std::vector<IssuedKey> issue_keys(OwnerFolder& folder, const std::vector<IssueRequest>& requests, std::int64_t now,
                                  const std::function<void(const UserKey&)>& check) {
  std::set<std::filesystem::path> files;
  for (const auto& request : requests) {
    check_request(request);
    if (!files.insert(request.out.lexically_normal()).second)
      fail_input("{} would be written twice", request.out.string());
  }
  const auto& owner = folder.owner();
  const auto issuer = issuer_of(owner);
  auto registry = folder.registry().copy();
  std::vector<IssuedKey> issued;
  for (const auto& request : requests) {
    IssuedKey entry{.serial = registry.next_serial(),
                    .name = request.name,
                    .issued_at = now,
                    .not_before = request.not_before,
                    .not_after = request.not_after,
                    .key_digest = {},
                    .revoked = false,
                    .revoked_at = 0,
                    .reason = {}};
    const auto alphas = draw_alphas(owner, entry.serial);
    const auto key = make_user_key(owner, issuer, alphas, entry);
    if (check) check(key);
    entry.key_digest = key.key_digest;
    registry.issue(entry, alphas);
    issued.push_back(std::move(entry));
  }
  const auto signing_key = owner.signing_key();
  folder.commit(std::move(registry), now, [&] {
    for (std::size_t i = 0; i < requests.size(); ++i) {
      const auto key = make_user_key(owner, issuer, folder.registry().alphas(issued[i].serial), issued[i]);
      auto bytes = write_user_key(key, signing_key, requests[i].seal);
      const WipedAtEnd wiped(bytes);
      write_secret_durably(requests[i].out, bytes);
    }
  });
  return issued;
}

}  // namespace spankey
