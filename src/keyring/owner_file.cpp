#include "keyring/owner_file.h"

#include <cstring>

#include "base/error.h"
#include "keyring/container.h"
#include "keyring/key_law.h"
#include "keyring/sodium_span.h"

namespace spankey {
namespace {

constexpr std::size_t secret_key_bytes = 32;
constexpr std::size_t owner_tail_bytes = 2 * secret_key_bytes + 4 * sizeof(std::uint64_t) + 2 * sizeof(Digest);

nlohmann::json owner_header(const Owner& owner) {
  nlohmann::json header{{"model_id", owner.model_id},
                        {"created_at", owner.created_at},
                        {"laboratory", owner.laboratory},
                        {"phi", owner.phi},
                        {"correct_accuracy", owner.correct_accuracy},
                        {"compat", to_string(owner.compat)},
                        {"key", key_law_json(owner.key)},
                        {"public_key", hex_text(owner.public_key)}};
  write_sites(header, owner.sites);
  return header;
}

Compat read_compat(HeaderFields& header) {
  const auto word = header.text("compat", 16);
  for (const auto compat : {Compat::honest, Compat::reference})
    if (word == to_string(compat)) return compat;
  header.refuse("compat", "\"honest\" or \"reference\"");
}

std::int64_t basis_elements(const Owner& owner) {
  return owner.key.m * key_elements(owner.sites);
}

Owner read_owner_facts(HeaderFields& header, const std::string& name) {
  Owner owner;
  owner.model_id = read_hex_digest(header, "model_id");
  owner.created_at = read_time(header, "created_at");
  owner.laboratory = header.flag("laboratory");
  owner.phi = header.number("phi", 0, most_phi);
  owner.correct_accuracy = header.number("correct_accuracy", 0, 1);
  owner.compat = read_compat(header);
  owner.key = read_key_law(header.any("key"), name);
  owner.public_key = header.public_key("public_key");
  owner.sites = read_sites(header);
  if (owner.key.layers.size() != owner.sites.size()) header.refuse("points", "those of key.layers");
  for (std::size_t i = 0; i < owner.sites.size(); ++i)
    if (owner.key.layers[i] != owner.sites[i].point) header.refuse("points", "those of key.layers");
  if (owner.key.m > most_key_elements / key_elements(owner.sites))
    header.refuse("key", fmt::format("a basis of up to {} numbers", most_key_elements));
  return owner;
}

struct OwnerFields {
  Owner owner;
  PassphraseLaw law;
  Nonce nonce{};
};

OwnerFields read_owner_fields(const Container& file, const std::string& name) {
  HeaderFields header(file.header, name);
  OwnerFields fields{.owner = read_owner_facts(header, name), .law = PassphraseLaw::read(header, name), .nonce = {}};
  header.bytes("nonce", fields.nonce);
  header.require_no_others();
  const auto expected =
      static_cast<std::size_t>(basis_elements(fields.owner)) * sizeof(float) + owner_tail_bytes + seal_bytes;
  if (file.payload.size() != expected)
    fail_input("{}: {} bytes of content; accepted: {} for this basis", name, file.payload.size(), expected);
  return fields;
}

// Copies secrets to or from consecutive places. `Bytes`: of the file, constant or not.
template <class Bytes>
class Walk {
 public:
  explicit Walk(Bytes bytes) : rest_(bytes) {}
  Bytes next(std::size_t size) {
    const auto part = rest_.first(size);
    rest_ = rest_.subspan(size);
    return part;
  }

 private:
  Bytes rest_;
};

SecretBytes owner_secret(const Owner& owner) {
  SPANKEY_CHECK_EQ(owner.basis.size(), owner.sites.size());
  SecretBytes secret(static_cast<std::size_t>(basis_elements(owner)) * sizeof(float) + owner_tail_bytes);
  Walk<std::span<std::byte>> walk(secret.bytes());
  const auto put = [&](std::span<const std::byte> bytes) {
    std::memcpy(walk.next(bytes.size()).data(), bytes.data(), bytes.size());
  };
  for (std::size_t i = 0; i < owner.sites.size(); ++i) {
    SPANKEY_CHECK_EQ(owner.basis[i].size(),
                     static_cast<std::size_t>(owner.key.m * owner.sites[i].width) * sizeof(float));
    put(owner.basis[i].bytes());
  }
  SPANKEY_CHECK_EQ(owner.master_secret.size(), secret_key_bytes);
  SPANKEY_CHECK_EQ(owner.signing_seed.size(), secret_key_bytes);
  put(owner.master_secret.bytes());
  put(owner.signing_seed.bytes());
  put(std::as_bytes(std::span(&owner.codebook_seed, 1)));
  put(std::as_bytes(std::span(&owner.next_serial, 1)));
  for (const auto* chain : {&owner.registry, &owner.audit}) {
    put(std::as_bytes(std::span(&chain->records, 1)));
    put(std::as_bytes(std::span(chain->hash)));
  }
  return secret;
}

void take_secret(Owner& owner, const SecretBytes& secret) {
  Walk<std::span<const std::byte>> walk(secret.bytes());
  for (const auto& site : owner.sites)
    owner.basis.push_back(
        SecretBytes::copy_of(walk.next(static_cast<std::size_t>(owner.key.m * site.width) * sizeof(float))));
  owner.master_secret = SecretBytes::copy_of(walk.next(secret_key_bytes));
  owner.signing_seed = SecretBytes::copy_of(walk.next(secret_key_bytes));
  const auto take = [&](std::uint64_t& number) {
    std::memcpy(&number, walk.next(sizeof number).data(), sizeof number);
  };
  take(owner.codebook_seed);
  take(owner.next_serial);
  for (auto* chain : {&owner.registry, &owner.audit}) {
    take(chain->records);
    std::memcpy(chain->hash.data(), walk.next(sizeof(Digest)).data(), sizeof(Digest));
  }
}

}  // namespace

OwnerLock OwnerLock::fresh(const SecretBytes& passphrase, const Argon2Cost& cost) {
  const auto law = PassphraseLaw::fresh(cost);
  return {law, law.key(passphrase)};
}

std::vector<std::byte> write_owner(const Owner& owner, const OwnerLock& lock) {
  const auto nonce = fresh_nonce();
  auto header = owner_header(owner);
  header["argon2"] = lock.law.to_json();
  header["nonce"] = hex_text(nonce);
  const auto prefix = container_prefix(FileType::owner, header);
  return make_container(prefix, seal(owner_secret(owner).bytes(), prefix, nonce, lock.key), nullptr);
}

Owner read_owner_header(std::span<const std::byte> bytes, const std::string& name) {
  return read_owner_fields(parse_container(bytes, FileType::owner, name), name).owner;
}

OpenedOwner open_owner(std::span<const std::byte> bytes, const SecretBytes& passphrase, const std::string& name) {
  const auto file = parse_container(bytes, FileType::owner, name);
  auto fields = read_owner_fields(file, name);
  auto key = fields.law.key(passphrase);
  const auto secret = unseal(file.payload, file.prefix, fields.nonce, key);
  if (!secret) fail_input("{}: the passphrase is another one, or the file has been changed", name);
  take_secret(fields.owner, *secret);
  if (fields.owner.signing_key().public_key() != fields.owner.public_key)
    fail_input("{}: the public key is not that of the owner's secret", name);
  return {std::move(fields.owner), OwnerLock{fields.law, std::move(key)}};
}

}  // namespace spankey
