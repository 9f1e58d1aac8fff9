#include "keyring/user_key.h"

#include <sodium.h>

#include "base/error.h"
#include "base/secret.h"
#include "keyring/container.h"
#include "keyring/secret_file.h"
#include "keyring/sodium_span.h"

namespace spankey {
namespace {

constexpr std::size_t most_user_key_bytes =
    static_cast<std::size_t>(most_key_elements) * sizeof(float) + 2 * most_header_bytes;

constexpr std::string_view seal_words[] = {"none", "recipient", "passphrase"};

nlohmann::json user_key_header(const UserKey& key, KeySeal seal_kind) {
  nlohmann::json header{{"serial", key.serial},
                        {"name", key.name},
                        {"model_id", key.model_id},
                        {"issued_at", key.issued_at},
                        {"not_before", key.not_before},
                        {"not_after", key.not_after},
                        {"key_digest", to_hex(key.key_digest)},
                        {"laboratory", key.laboratory},
                        {"seal", seal_words[static_cast<std::size_t>(seal_kind)]}};
  write_sites(header, key.sites);
  return header;
}

UserKey read_facts(HeaderFields& header) {
  UserKey key;
  key.serial = static_cast<std::uint64_t>(header.integer("serial", 1, most_serial));
  key.name = header.text("name", most_name_bytes);
  key.model_id = read_hex_digest(header, "model_id");
  key.issued_at = read_time(header, "issued_at");
  key.not_before = read_time(header, "not_before");
  key.not_after = read_time(header, "not_after");
  key.key_digest = read_digest(header, "key_digest");
  key.laboratory = header.flag("laboratory");
  key.sites = read_sites(header);
  return key;
}

KeySeal read_seal(HeaderFields& header) {
  const auto word = header.text("seal", 16);
  for (std::size_t i = 0; i < std::size(seal_words); ++i)
    if (word == seal_words[i]) return static_cast<KeySeal>(i);
  header.refuse("seal", "\"none\", \"recipient\" or \"passphrase\"");
}

// How a key is sealed, as its header tells it.
struct SealFields {
  KeySeal kind = KeySeal::none;
  RecipientPublic recipient{};
  PassphraseLaw law;
  Nonce nonce{};

  std::size_t overhead() const {
    return kind == KeySeal::none ? 0 : kind == KeySeal::recipient ? recipient_seal_bytes : seal_bytes;
  }
};

SealFields read_seal_fields(HeaderFields& header, const std::string& name) {
  SealFields fields{.kind = read_seal(header), .recipient = {}, .law = {}, .nonce = {}};
  if (fields.kind == KeySeal::recipient) header.bytes("recipient", fields.recipient);
  if (fields.kind == KeySeal::passphrase) {
    fields.law = PassphraseLaw::read(header, name);
    header.bytes("nonce", fields.nonce);
  }
  return fields;
}

void require_digest(const UserKey& key, const std::string& name) {
  if (vectors_digest(key.sites, key.vectors.bytes()) != key.key_digest)
    fail_input("{}: the vectors of the key are not those that its header tells of", name);
}

}  // namespace

std::span<const float> UserKey::vector_at(std::size_t site) const {
  std::size_t begin = 0;
  for (std::size_t i = 0; i < site; ++i) begin += static_cast<std::size_t>(sites[i].width);
  return vectors.floats().subspan(begin, static_cast<std::size_t>(sites.at(site).width));
}

Digest vectors_digest(const std::vector<KeySite>& sites, std::span<const std::byte> vectors) {
  start_cryptography();
  crypto_generichash_state state;
  crypto_generichash_init(&state, nullptr, 0, sizeof(Digest));
  for (const auto& site : sites) {
    const std::int64_t numbers[] = {site.point, site.width};
    crypto_generichash_update(&state, raw(std::as_bytes(std::span(numbers))), sizeof numbers);
  }
  crypto_generichash_update(&state, raw(vectors), vectors.size());
  Digest digest;
  crypto_generichash_final(&state, digest.data(), digest.size());
  return digest;
}

std::vector<std::byte> write_user_key(const UserKey& key, const SigningKey& owner, const SealWith& with) {
  SPANKEY_CHECK(with.recipient == nullptr || with.passphrase == nullptr);
  SPANKEY_CHECK_EQ(key.vectors.size(), static_cast<std::size_t>(key_elements(key.sites)) * sizeof(float));
  const auto kind = with.recipient != nullptr    ? KeySeal::recipient
                    : with.passphrase != nullptr ? KeySeal::passphrase
                                                 : KeySeal::none;
  auto header = user_key_header(key, kind);
  if (kind == KeySeal::none)
    return make_container(container_prefix(FileType::user_key, header), key.vectors.bytes(), &owner);
  if (kind == KeySeal::recipient) {
    header["recipient"] = hex_text(*with.recipient);
    return make_container(container_prefix(FileType::user_key, header), seal_to(*with.recipient, key.vectors.bytes()),
                          &owner);
  }
  const auto law = PassphraseLaw::fresh(with.cost);
  const auto nonce = fresh_nonce();
  header["argon2"] = law.to_json();
  header["nonce"] = hex_text(nonce);
  const auto prefix = container_prefix(FileType::user_key, header);
  return make_container(prefix, seal(key.vectors.bytes(), prefix, nonce, law.key(*with.passphrase)), &owner);
}

UserKeyFile read_user_key(std::span<const std::byte> bytes, const std::string& name) {
  const auto file = parse_container(bytes, FileType::user_key, name);
  HeaderFields header(file.header, name);
  UserKeyFile result{.key = read_facts(header), .owner = *file.signer, .seal = KeySeal::none, .bytes = {}};
  const auto seal_fields = read_seal_fields(header, name);
  header.require_no_others();
  result.seal = seal_fields.kind;
  const auto expected =
      static_cast<std::size_t>(key_elements(result.key.sites)) * sizeof(float) + seal_fields.overhead();
  if (file.payload.size() != expected)
    fail_input("{}: {} bytes of content; accepted: {} for these widths", name, file.payload.size(), expected);
  if (result.seal == KeySeal::none) {
    result.key.vectors = SecretBytes::copy_of(file.payload);
    require_digest(result.key, name);
  } else {
    result.bytes.assign(bytes.begin(), bytes.end());
  }
  return result;
}

UserKeyFile read_user_key_file(const std::filesystem::path& path) {
  return read_user_key(read_secret_file(path, most_user_key_bytes).bytes(), path.string());
}

UserKey open_user_key(UserKeyFile file, const OpenWith& with, const std::string& name) {
  if (file.seal == KeySeal::none) return std::move(file.key);
  const auto container = parse_container(file.bytes, FileType::user_key, name);
  HeaderFields header(container.header, name);
  const auto fields = read_seal_fields(header, name);
  std::optional<SecretBytes> vectors;
  if (fields.kind == KeySeal::recipient) {
    if (with.recipient == nullptr)
      fail_input("{}: the key is sealed to a person; accepted: that person's .sec file", name);
    if (with.recipient->public_key != fields.recipient)
      fail_input("{}: the key is sealed to another person than {}", name, with.recipient->name);
    vectors = unseal_with(*with.recipient, container.payload);
  } else {
    if (with.passphrase == nullptr) fail_input("{}: the key is sealed with a passphrase, and none is given", name);
    vectors = unseal(container.payload, container.prefix, fields.nonce, fields.law.key(*with.passphrase));
  }
  if (!vectors)
    fail_input("{}: the {} is another one than the key was sealed with", name,
               fields.kind == KeySeal::recipient ? "secret key" : "passphrase");
  file.key.vectors = *std::move(vectors);
  require_digest(file.key, name);
  return std::move(file.key);
}

void require_usable(const UserKey& key, const PublicKey& signer, const KeyUse& use, const std::string& name) {
  const auto refuse = [&](const std::string& why) {
    fail_input("{}: key {} of {} is refused: {}", name, key.serial, key.name, why);
  };
  if (signer != use.owner) refuse("it is signed by another owner than that of the model");
  if (key.model_id != use.model_id)
    refuse(fmt::format("it belongs to model {}, not to {}", key.model_id.substr(0, 12), use.model_id.substr(0, 12)));
  if (use.now < key.issued_at)
    refuse(fmt::format("it was issued at {}, and the clock of this machine says {}", time_text(key.issued_at),
                       time_text(use.now)));
  if (use.now < key.not_before) refuse("it is valid from " + time_text(key.not_before));
  if (use.now >= key.not_after) refuse("it was valid until " + time_text(key.not_after));
  if (use.revoked == nullptr) return;
  if (use.revoked->owner != use.owner || use.revoked->model_id != use.model_id)
    fail_input("{}: the list of revoked keys is another owner's or model's", name);
  if (use.revoked->names(key.serial, key.key_digest))
    refuse(fmt::format("it is revoked (list {} of {}; {})", use.revoked->sequence, time_text(use.revoked->issued_at),
                       worth_of_a_revocation));
}

}  // namespace spankey
