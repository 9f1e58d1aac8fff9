#include "keyring/issue.h"

#include <ATen/ATen.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "base/error.h"
#include "base/file.h"
#include "base/secret.h"
#include "base/text.h"
#include "keyring/key_facts.h"
#include "keyring/valid_key.h"

namespace spankey {
namespace {

// What would fail after the registry has recorded the key is refused before.
void require_place_for(const std::filesystem::path& file) {
  if (std::filesystem::exists(std::filesystem::symlink_status(file)))
    fail_input("{} exists already; accepted: the name of a new file", file.string());
  const auto folder = file.has_parent_path() ? file.parent_path() : std::filesystem::path(".");
  if (!std::filesystem::is_directory(folder) || ::access(folder.c_str(), W_OK | X_OK) != 0)
    fail_input("{}: {} is no folder that can be written to; accepted: a file in one that is", file.string(),
               folder.string());
}

void check_request(const IssueRequest& request, std::int64_t now) {
  require_utf8(request.name, "name of a key's holder");
  if (request.name.empty() || request.name.size() > most_name_bytes || escaped(request.name) != request.name)
    fail_input("'{}' is no name of a key's holder; accepted: 1 to {} bytes of text on one line", escaped(request.name),
               most_name_bytes);
  if (request.not_before < 0 || request.not_after <= request.not_before || request.not_after > latest_time)
    fail_input("the key for {}: its dates are out of order or outside of the years 1970 to 9999", request.name);
  if (request.not_after <= now)
    fail_input("the key for {} would be valid until {}, which is past; accepted: a later day", request.name,
               time_text(request.not_after));
  require_place_for(request.out);
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

// The fingerprints of `count` serials from `first`: for each site (count, d_l) float64.
std::vector<at::Tensor> fingerprints(const Owner& owner, const KeyIssuer& issuer, std::uint64_t first,
                                     std::uint64_t count) {
  std::vector<std::vector<at::Tensor>> of_site(owner.sites.size());
  for (auto serial = first; serial < first + count; ++serial) {
    const auto sites = issuer.fingerprint(derive_fingerprint_seed(owner.master_secret, serial));
    for (std::size_t site = 0; site < sites.size(); ++site) of_site[site].push_back(sites[site]);
  }
  std::vector<at::Tensor> result;
  for (const auto& vectors : of_site) result.push_back(at::stack(vectors));
  return result;
}

// The scalar product of two fingerprints is N(0, 1 / (d - m)) to a good approximation. One far beyond that could not be
// told from the other.
void require_distinct_fingerprints(const Owner& owner, const KeyIssuer& issuer, std::uint64_t first,
                                   std::uint64_t count) {
  constexpr double most_deviations = 7.0;  // 3e-12 for each pair
  constexpr std::uint64_t block = 256;
  const auto fresh = fingerprints(owner, issuer, first, count);
  for (std::uint64_t begin = 1; begin < first + count; begin += block) {
    const auto others = fingerprints(owner, issuer, begin, std::min(block, first + count - begin));
    for (std::size_t site = 0; site < fresh.size(); ++site) {
      auto products = fresh[site].mm(others[site].t()).abs();
      for (std::int64_t row = 0; row < products.size(0); ++row)  // a fingerprint and itself
        if (const auto column = static_cast<std::int64_t>(first) + row - static_cast<std::int64_t>(begin);
            column >= 0 && column < products.size(1))
          products[row][column] = 0;
      const auto freedom = static_cast<double>(owner.sites[site].width - owner.key.m);
      if (products.max().item<double>() * std::sqrt(freedom) > most_deviations)
        fail_run("two keys would have nearly the same fingerprint; nothing has been issued");
    }
  }
}

struct DrawnKey {
  SecretBytes alphas;
  Digest key_digest{};
};

// The first key for the serial that `check` does not refuse.
DrawnKey draw_key(const Owner& owner, const KeyIssuer& issuer, const IssuedKey& entry, const KeyCheck& check) {
  std::string why_not;
  for (std::uint32_t attempt = 0; attempt < most_draws; ++attempt) {
    auto alphas = draw_alphas(owner, entry.serial, attempt);
    const auto key = make_user_key(owner, issuer, alphas, entry);
    why_not = check ? check(key) : "";
    if (why_not.empty()) return {std::move(alphas), key.key_digest};
  }
  fail_run("{}, and so do {} others that were drawn for it: nothing has been issued", why_not, most_draws - 1);
}

}  // namespace

// The vectors are made twice, before and after the registry is written, so that a thousand of them need not be kept in
// locked memory.
std::vector<IssuedKey> issue_keys(OwnerFolder& folder, const std::vector<IssueRequest>& requests, std::int64_t now,
                                  const KeyCheck& check) {
  std::set<std::filesystem::path> files;
  for (const auto& request : requests) {
    check_request(request, now);
    if (!files.insert(request.out.lexically_normal()).second)
      fail_input("{} would be written twice", request.out.string());
  }
  const auto& owner = folder.owner();
  const auto issuer = issuer_of(owner);
  auto registry = folder.registry().copy();
  if (owner.phi > 0) require_distinct_fingerprints(owner, issuer, registry.next_serial(), requests.size());
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
    const auto drawn = draw_key(owner, issuer, entry, check);
    entry.key_digest = drawn.key_digest;
    registry.issue(entry, drawn.alphas);
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
